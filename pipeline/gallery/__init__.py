"""Shared examples: what a model wrote, kept as it was, each with an address of its own. Knows nothing of pages."""

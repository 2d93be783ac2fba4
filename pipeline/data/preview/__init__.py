"""Scans a source in a separate process that has no secrets, little memory, and write access only to its own folder.

process starts, queries and ends it; `python -m pipeline.data.preview` is the process itself, scan its work; messages is
the protocol between them. Sources that strangers name must be read here.
"""

"""The Generate tab.

tab              prompt and sampling; streams completions, keeps examples
revision_choice  which revision writes, and what to know of it
answers          the completions that a revision wrote
writing          writes them, at most three updates a second
"""

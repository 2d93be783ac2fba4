"""A scan of a source in a process of its own, which has no secret, little memory and no files but its own to lose.

process starts it, asks it and ends it; `python -m pipeline.data.preview` is the process itself; messages is what they say to
each other. Whoever has a source of strangers read, has it read here.
"""

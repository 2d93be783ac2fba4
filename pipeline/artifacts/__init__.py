"""The three things that last, each with its format, opened, verified and listed here and nowhere else.

manifest    a folder's list of its own files, each with size and SHA-256
checkpoint  a run's checkpoint, as training leaves it
corpus      a prepared corpus
revision    a pushed revision, and the registry of those on this disk

Knows nothing of torch or the Hub.
"""

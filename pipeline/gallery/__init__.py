"""Saved generation results (examples), each immutable and with its own link. Does not depend on pages.

examples    stores, lists and reports examples, one JSON file each
example     one example: its fields, and the limits on what may be saved
index       all examples in memory, as far as they are searched
download    a completion as a script or a notebook
search      which examples a person asked for
cached      a value derived from a path, cached until the path changes
quota       how much one visitor may save and report
moderation  hidden, pinned and reported examples
"""

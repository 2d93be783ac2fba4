"""The three persistent artifacts and their formats. Only this package lists them, and verifies that their files are complete.

manifest    a folder's list of its own files, each with size and SHA-256
checkpoint  a run's checkpoint, as training writes it
corpus      a prepared corpus
revision    a pushed revision, and the registry of the revisions on this disk
evaluation  the figures of evaluated revisions
starter     the revision that comes with the program

Does not depend on torch or the Hub.
"""

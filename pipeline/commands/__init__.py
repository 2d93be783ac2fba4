"""The commands of `python -m pipeline`, by what they are about.

corpora      preview, prepare, corpora, delete
runs         train, resume, runs, status, stop, logs
revisions    revisions, generate, score, publish
options      what several of them take, and how they end
"""

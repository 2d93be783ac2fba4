"""The same work without a browser: `python -m pipeline COMMAND`.

app        the commands together; errors as one sentence and an exit status
options    options that several commands share
corpora    preview, prepare, corpora, delete
runs       train, resume, runs, status, logs, stop
revisions  revisions, publish, generate, score
console    what commands print: progress, tables, one JSON document
demo       the whole way, in one command
"""

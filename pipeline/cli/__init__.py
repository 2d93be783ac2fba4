"""The command line: does what the page does, without a browser. `python -m pipeline COMMAND`.

app        collects the commands; turns errors into one sentence and an exit status
options    options and helpers that several commands share
corpora    preview, prepare, corpora, delete
runs       train, resume, runs, status, logs, stop; the fields that they print as JSON are in jobs/view_types
revisions  revisions, publish, generate, score
evaluations evaluate
export     export
restored   brings back what a wiped disk has lost, before a command reads it
console    prints progress, tables and a JSON document
demo       all stages, in one command
"""

"""Requests, the queue, and the worker that starts and watches the processes. Knows nothing of torch or Gradio.

requests     what every request has in common (writes request.json and stop.json)
run_requests, corpus_requests
             what a person may ask for: start, stop, resume, push, delete
dry_run      a dry run: the whole way of a run in small
state        what a job is doing, derived from its files: queued ... interrupted
views        everything a page or a command shows of runs and corpora
worker       one per home: takes requests in order, starts jobs, sees how they end
processes    starting detached processes, recognising and ending them
"""

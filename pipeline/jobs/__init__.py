"""Requests, the queue, and the worker that starts and watches the processes. Knows nothing of torch or Gradio.

requests     what a person may ask for: start, stop, resume (writes request.json and stop.json)
state        what a job is doing, derived from its files: queued ... interrupted
views        everything a page or a command shows of runs and corpora
worker       one per home: takes requests in order, starts jobs, sees how they end
processes    starting detached processes, recognising and ending them
"""

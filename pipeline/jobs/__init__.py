"""Job requests, the queue, and the worker that starts and monitors the processes. Knows nothing of torch or Gradio.

job          finds, stops and resumes a job of any kind; writes its request
runs, corpora, dry_runs, evaluations
             the requests of each kind of job, and their checks
restoring    resumes runs, also those that were restored from the Hub, with what they lack
state        the state of a job, derived from its files: queued ... interrupted
job_files    reads the JSON files of a job, and checks the types of their fields
view_types   what the page and the commands show of each kind of job, as dataclasses; `to_dict` is what `--json` prints
views        reads them from the folders of the jobs
run_pushes   which checkpoints of a run are on the Hub, and why the newest is not
follow       waits for a job that runs in other processes
worker       one per home: takes requests in order, starts jobs, records how they end
"""

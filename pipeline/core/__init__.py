"""What everything else stands on: errors, settings, paths, files, processes. Knows nothing of data or models.

errors        errors meant for people
settings      where this instance lives, from the environment
paths         where every file lies, and who writes it
atomic_io     how anything reaches the disk: replaced whole, or appended in whole lines
job_process   a job's own side of its folder: lock, status, stop
environment   what a process we start may see (no token); how many cores there are
credentials   the secrets of a process, out of its environment
confinement   what a process that reads strangers' data gives up
http_client   how long the Hub may keep us waiting
"""

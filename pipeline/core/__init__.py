"""Base package of all others: errors, settings, paths, files, processes. Does not depend on data or models.

errors        kinds of errors whose message is shown to people; each sentence is written where it is raised
disk_full     a full disk: recognised, and its sentence
settings      settings of this instance, from the environment
paths         path of every file, and which process writes it
atomic_io     atomic file replacement, JSON-lines files, file locks
processes     starts, recognises and ends processes that outlive their parent
job_process   the job process's side of a job folder: lock, status, stop requests
environment   environment variables of child processes (no token); number of CPU cores
gpu           the GPUs of this machine, and why the installed torch cannot use them
credentials   the secrets of a process, removed from its environment
confinement   sandbox of a process that reads untrusted data, or runs an untrusted program
program_needs what running such a program needs of this machine
system_calls  the system calls that such a program is refused
imports       imports of large libraries, faster
repo_names    names of repos as the Hub allows them
axes          ranges, ticks and tick labels of charts
text          check that text can be encoded as UTF-8
untrusted     checks of values that somebody else may have written
http_client   applies a timeout to every request to the Hub; the seconds are its caller's (of the publisher: hub/uploader)
"""

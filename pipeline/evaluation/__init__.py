"""How good a revision is: does its code parse, run and do what was asked?

tasks       the suite: prompts, checks, solutions and mutants, read from assets/tasks
evaluate    all figures of one revision (torch)
writing     writes the completions of many prompts, a batch at a time (torch)
memorising  how much of its training files it has by heart (torch)
corpus_files  files of a corpus as text, read back from its tokens
held_out    bits per byte, loss by library and the next line, on files that were not trained on (torch)
passing     pass@k with its confidence interval
sandbox     runs a program in a process of its own, without network, other files or other processes
forks       the process that starts them: it has imported the libraries (`python -m pipeline.evaluation.forks`)
"""

"""CodeParrot Studio's engine: scan code, train a GPT-2 on it, generate from the model. Needs no browser.

Its packages, in the order of the data flow:

    core/        errors, settings, paths, files, processes; does not depend on data or models
    config/      configuration of a corpus, a model and a run; presets and recipes as one table
    artifacts/   formats of the three kinds of result: checkpoint, corpus, revision
    data/        sources -> keyword match -> report -> kept files -> tokens
    planning.py  forecast of a run's or a corpus's tokens, time, memory and disk
    training/    model, loss, optimizer, evaluation, checkpoints, the loop
    jobs/        requests, the queue, the worker that starts and monitors processes
    hub/         the registry of pushed revisions and the publisher that fills it
    generation/  load a revision, sample from it, stream text; in a process of its own
    gallery/     shared examples and their permalinks
    cli/         command line: `python -m pipeline --help`
    ui/          Gradio page; the only package that imports gradio

Imports go in one direction: ui, cli -> jobs, gallery, generation, hub, data, planning -> artifacts -> config -> core.
`tests/test_architecture.py` enforces this, and that only training and generation import torch.
"""

__version__ = "0.1.0"

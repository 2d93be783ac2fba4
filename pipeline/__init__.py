"""CodeParrot Studio's engine: look at code, train a GPT-2 on it, use the model. No browser needed.

Read it in the order the data flows:

    core/        errors, settings, paths, files, processes; knows nothing of data or models
    config/      what a corpus, a model and a run are; presets and recipes as one table
    artifacts/   the three things that last: checkpoint, corpus, revision
    data/        sources -> keyword match -> report -> kept files -> tokens
    planning     what a run or a corpus will take, before it is started
    training/    model, loss, optimizer, evaluation, checkpoints, the loop
    jobs/        requests, the queue, the worker that starts and watches processes
    hub/         the registry of pushed revisions and the publisher that fills it
    generation/  load a revision, sample from it, stream text; its own process
    gallery/     shared examples and their permalinks
    cli/         all of it as commands: `python -m pipeline --help`
    ui/          all of it as a page; the only code here that imports gradio

Imports run one way: ui, cli -> jobs, gallery, generation, hub, data, planning -> artifacts -> config -> core.
`tests/test_architecture.py` holds that, and that torch stays inside training and generation.
"""

__version__ = "0.1.0"

"""CodeParrot Studio's engine: look at code, train a GPT-2 on it, use the model. No browser needed.

Read it in the order the data flows:

    settings, config   where this instance lives; what a corpus, a model and a run are
    recipes            presets and recipes: one table, and the run that two of them make
    memory, rates      what training a model takes of it; its learning rate, step by step
    quality, fields    rules that remove files; fields of configuration as people write them
    files, folders     how anything reaches the disk; where every file lies and who writes it
    manifest           a folder's list of its own files: how a checkpoint or a revision proves that it is whole
    environment, http  what a process we start may see; how long the Hub may keep us waiting
    data/              sources -> keyword match -> report -> kept files -> tokens
    plan               what a run will take, before it is started
    training/          model, loss, optimizer, evaluation, checkpoints, the loop
    jobs/              requests, the queue, the worker that starts and watches processes
    hub/               the registry of pushed revisions and the publisher that fills it
    generation/        load a revision, sample from it, stream text; its own process
    gallery/           shared examples and their permalinks
    cli, commands/     all of it as commands: `python -m pipeline --help`
    ui/                all of it as a page; the only code here that imports gradio

Left may import right, never back: ui -> jobs, gallery, generation, hub, data, plan -> folders, files, config,
settings, errors. `tests/test_architecture.py` holds that, and that torch stays inside training and generation.
"""

__version__ = "0.1.0"

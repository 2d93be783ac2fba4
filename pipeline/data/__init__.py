"""The data: where code comes from, which files are kept, and how they become tokens.

    sources/    installed packages, local files, the Hub: batches of rows with the same six columns
    readers/    the bytes of a file -> rows, in bounded memory
    filter/     which rows are kept: matching, quality, duplicates, selection, split; one pure function per shard
    report/     what was found, as numbers: keywords, samples, removals, window statistics
    tokens/     tokenizer, encoder, token files, training windows
    execution/  the same function over many tasks: here, in worker processes, on Ray; shared storage
    preview/    a scan of a source while it runs, in a process of its own
    prepare     all of it as a job: `python -m pipeline.data CORPUS_FOLDER`
    stages      which stages of a preparation are complete
    progress    how far a preparation is

Knows nothing of models, torch or the page. Importing it costs nothing: polars, datasets and tokenizers are imported when
they are used.
"""

"""Prepares training data: reads code from sources, selects files and turns them into tokens.

    sources/    installed packages, local files and Hub datasets, as batches of rows with the same six columns
    readers/    convert the bytes of a file to rows, in bounded memory
    filter/     selects rows: matching, quality, duplicates, selection, split; one pure function per shard
    report/     statistics of the data: keywords, samples, removals, windows
    tokens/     tokenizer, encoder, token files, training windows
    verbatim/   finds what a text has in common with the training files of a corpus
    execution/  runs one function over many tasks: in this process, in worker processes or on Ray; shared storage
    preview/    scans a source in a separate process and reports intermediate results
    prepare     runs the whole preparation as a job: `python -m pipeline.data CORPUS_FOLDER`
    stages      which stages of a preparation are complete
    progress    the progress of a preparation

Does not depend on models, torch or the page. Importing it is cheap: polars, datasets and tokenizers are imported when
they are used.
"""

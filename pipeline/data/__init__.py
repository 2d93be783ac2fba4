"""The data room: where code comes from, which files are kept, and how they become tokens.

    sources/    installed packages, files, the Hub: one shape of rows, bad ones counted
    matching    which rows mention which keyword
    report      what a scan found, as numbers
    samples     the few kept files that are shown
    scan        a look at a source, while it goes on
    quality     rules of good code, one file at a time
    duplicates  files that say what another one said before
    removed     what these rules removed, as numbers
    shards      kept files as parquet
    split       which file is held out for validation
    tokenizer   byte-level BPE, trained or given
    tokens      files as one flat file of ids per split
    engines/    one function over many tasks: here, in worker processes, on Ray
    places      small files at any address, read and replaced whole
    prepare     all of it as a job: `python -m pipeline.data CORPUS_FOLDER`
    corpus      a prepared corpus, opened
    windows     its training windows, by number

Knows nothing of models, torch or the page. Importing it costs nothing: polars, datasets and tokenizers come when used.
"""

"""Which rows are kept, and where they are written.

matching        which texts contain which keyword, by columns
quality         rules of good code, one file at a time
duplicates      files that repeat another one, exactly or nearly
shard_filter    `process_shard`: one shard of a source in, its kept files and its report out
selection       from the filtered shards to the files of a corpus
split           which kept files are held out for validation
parquet_shards  kept files on disk
stage           the first stage of a preparation: all of this over every shard
"""

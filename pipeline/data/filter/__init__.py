"""Decides which rows are kept, and writes them.

matching        the keyword match modes (named in `config.schema.MATCHES`): which texts contain which keyword
quality         code quality rules, applied to each file on its own
duplicates      finds files that repeat an earlier one, exactly or nearly
shard_filter    `process_shard`: filters one shard and writes its kept files and its report
selection       chooses which of the matched files stay when the corpus has a maximum, and removes duplicates
split           decides which kept files are held out for validation
parquet_shards  reads and writes parquet files of kept files
stage           the first stage of a preparation: runs all of this over every shard
"""

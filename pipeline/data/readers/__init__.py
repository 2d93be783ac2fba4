"""The bytes of a file -> rows, in bounded memory whatever the file holds. One table of formats for every source.

formats            which files can be read, by their endings, and with which reader
decompress         the bytes of a compressed file, chunk by chunk
blocks             a stream of bytes as blocks of whole lines
buffered_stream    a stream of which parts are in memory, and whose faults are told from its reader's
jsonl              JSON lines: one bad line costs one line
jsonl_columns      a block of JSON lines as a table, where that is as exact as line by line
json_document      a file that is one JSON value
json_row           one JSON value as a row
delimited          comma- or tab-separated values
delimited_records  their records
text_lines         plain text: every line is a row
parquet            parquet files
parquet_pages      how large the pages of a column are, and can become
frames             tables as rows with the course's columns
"""

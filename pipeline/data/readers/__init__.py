"""Converts the bytes of a file to rows, in bounded memory whatever it contains. All sources use one table of formats.

formats            maps file extensions to formats and their readers
decompress         the decompressed bytes of a file, chunk by chunk
whole_lines        a stream of bytes as blocks of whole lines
buffered_stream    a stream with buffered ranges, which distinguishes its own errors from its reader's
jsonl              JSON lines: a bad line loses only that line
line_block         a block of JSON lines and its batch
jsonl_columns      a block of JSON lines as a table, where that is as exact as line by line
json_document      a file that is one JSON value
json_row           one JSON value as a row
delimited          comma- or tab-separated values
delimited_records  their records
docstrings         the examples in the docstrings of a Python file, as a program
text_lines         plain text: every line is a row
parquet            parquet files
parquet_pages      how large the pages of a column are, and can become
frames             tables as rows with the course's columns
"""

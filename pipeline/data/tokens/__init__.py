"""From kept files to training windows.

tokenizer     a byte-level BPE, trained or given
tiktoken_bpe  its merges as tiktoken needs them
encoder       texts -> token ids, with exactly the ids of `tokenizers`, faster
token_file    the files of a split as one flat file of ids
windows       the training windows of a token file, by number
stage         the last stage of a preparation: every shard encoded
"""

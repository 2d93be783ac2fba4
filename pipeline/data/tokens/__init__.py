"""Turns kept files into training windows.

tokenizer     a byte-level BPE, trained or given
tiktoken_bpe  its merges in the form that tiktoken needs
encoder       texts -> token ids, with exactly the ids of `tokenizers`, faster
token_file    the files of a split as one flat file of ids
windows       the training windows of a token file, by index
stage         the stage of a preparation that encodes every shard
"""

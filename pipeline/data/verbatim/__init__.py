"""Finds what a text has in common with the training files of a corpus, token by token.

ngram_index   the places of n-grams in a token file, by hash, on disk; built in bounded memory
search        the longest runs of a text that stand in the files, and where it shares most with them
origins       which file that is: its repository, path, licence and line
"""

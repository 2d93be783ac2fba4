"""The room where a pushed revision goes on with a prompt.

    settings   what one completion is asked for, and the check of a prompt
    text_chunk what streams back
    choose     which revision writes
    process    the page's and the command line's side: starts the generator, streams, stops it
    subprocess_client  one generator process and the pipe to it
    unread     the answers to one request that were not read yet
    __main__   the generator process itself (torch)
    server     its open requests, each in a thread of its own
    seats      which of them are written first
    turns      which of them computes: one at a time, token by token
    loaded     the models in memory, at most two
    loading    a revision's folder as a checked model and tokenizer (torch)
    model_config, weights, tokenizer_file   its three files, each by an allow-list (torch)
    sampling   a prompt's completions, seed by seed (torch); the trainer uses it too
    text_streamer  tokens as exact text, chunk by chunk (torch)
    scoring    how well a model foresees a text (torch)

Only those marked so and what they start import torch: whoever asks for text pays nothing for it.
"""

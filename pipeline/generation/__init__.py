"""Generates text from a pushed revision, in a process of its own.

    settings   the sampling settings of one request, and the check of a prompt
    ending     where a completion ends by its text: the end of its line or function
    text_chunk the unit of text that is streamed back
    process    the client for the page and the command line: starts the generator process, streams, stops it
    subprocess_client  one generator process and the pipe to it
    unread     the buffer of answers to one request that the client has not read yet
    __main__   the generator process itself (torch)
    server     its open requests, and the thread that writes them all
    task       what is written once for everybody who asks the same
    seats      who writes in the next step, when not all can
    loaded     the models in memory, at most two
    loading    loads and checks the model and tokenizer of a revision's folder (torch)
    model_config, weights, tokenizer_file   read its three files, each by an allow-list (torch)
    batch      texts that are written together, a token of each per step (torch)
    decoder    GPT-2's pass over the next tokens of several texts, each with its own cache (torch)
    linear     its matrix products: exact float32, int8, or the GPU's (torch)
    next_token the choice of a token from the logits, with a text's own seed (torch)
    sampling   the completions of a prompt, one seed each (torch); the trainer uses it too
    text_streamer  converts tokens to exact text, chunk by chunk
    reading    the probability of each token of a text, and how one of them came to be expected
    export     a revision as an ONNX model (torch)
    scoring    the loss and perplexity of a model on a text, and its readings (torch)

Only the modules marked (torch) and the modules that they start import torch, so the client does not pay for the import.
"""

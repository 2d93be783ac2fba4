"""The room where a pushed revision goes on with a prompt.

    settings   what one completion is asked for, and the check of a prompt
    pieces     what streams back
    choose     which revision writes
    process    the page's and the command line's side: starts the generator, streams, stops it
    child      one generator process and the pipe to it
    __main__   the generator process itself (torch)
    loading    a revision's folder as a checked model and tokenizer (torch)
    sampling   a prompt's completions, seed by seed (torch); the trainer uses it too
    writer     tokens as exact text, piece by piece (torch)
    scoring    how well a model foresees a text (torch)

Only the five marked so and what they start import torch: whoever asks for text pays nothing for it.
"""

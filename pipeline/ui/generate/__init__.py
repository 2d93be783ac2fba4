"""The Generate tab.

tab              prompt and sampling; streams completions, keeps examples
revision_choice  which revision writes, and what to know of it
linked_prompt    the prompt that a link names
answers          the completions that a revision wrote
program          whether a completion is a program that draws, and what it needs
browser_run      what is offered to be run in the visitor's browser, and its limits
tools            files of a completion, and how to use its model in Python
token_card       what was written, token by token: how sure the model was, and how it came to that
readings         reads a completion again, by which revision and with which tokens
shading          the colours of the tokens, and two readings compared
growth_card      one prompt at every step of a run
growth           which steps, and what they wrote
copied_card      what of it stands in the training files
copied           looks it up, and names the files
writing          writes them, at most three updates a second
"""

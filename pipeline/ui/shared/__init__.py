"""What several tabs use.

engine       the packages behind the page, opened when first used
access       one function decides who may start, stop, delete and read local files
wrong_keys   a delay for wrong owner keys
audit        the log of what owners asked for
visitors     whose request it is: the address that a known proxy reports
hosts        names and addresses of requests
privacy      what visitors are not shown: paths of this machine, logs
blocks       gr.Blocks, with errors as sentences and cheap events
components   the few ways this page makes components
form_values  what the inputs of a tab mean: a corpus to prepare, a run to start
texts        every text of the page, from assets/texts.json
markup       Jinja2 templates of assets/templates, always escaped
highlight    Python as escaped, coloured HTML
formats      numbers as people read them
theme        the design tokens and the Gradio theme made of them
top_bar, unlock
             brand and role; the card that asks for the owner's key
links        addresses that people pass on
threads      generators and long calls, outside the event loop
recent       what many visitors ask for at once, read once
failures     an unexpected error as a sentence with a number
"""

"""The page: the only code, with app.py, that imports gradio. Holds no truth: everything shown is read from disk.

engine      the rooms behind the page, opened when first used
access      one function decides who may start, stop, delete and read local files
sign_in     unlock, lock and who, over plain HTTP
wrong_keys  a delay for wrong owner keys
audit       the log of what owners did
guards      what every HTTP request must pass before Gradio sees it
launch      how the page is served, and what starts once it answers
texts       every text of the page, from assets/texts.json
formats     numbers as people read them
highlight   Python as escaped, coloured HTML
markup      Jinja2 templates of assets/templates, always escaped
theme       the design tokens and the Gradio theme made of them
parts       the few ways this page makes components
charts      metrics as short tables that a line plot can bear
scans       looks at data, shared by everybody who asks for the same one
setups      what the inputs of a tab mean: a corpus to prepare, a run to start
run_view    one run as HTML
answers     what a revision made of a prompt
links       addresses that people pass on
top_bar, unlock, data_tab, prepare_card, train_tab, generate_tab, gallery_tab
api         the same calls for programs: preview, start, stop, status, generate, revisions, examples
"""

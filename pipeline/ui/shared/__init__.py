"""Modules that several tabs use.

engine       the generator, gallery, revisions and scans behind the page, each loaded on first use
access       the function that decides who may start, stop, delete and read local files
wrong_keys   a delay for wrong owner keys
audit        the log of owners' actions
visitors     the visitor of a request: the address that a known proxy reports
hosts        host names and addresses in requests
privacy      hides paths of this machine from visitors
blocks       gr.Blocks with errors as sentences and cheap events
components   factories for the page's components
field_errors messages about a field's value, in the page's words
form_values  the inputs of a tab as values: a corpus to prepare, a run to start
texts        labels and sentences of the page, from assets/texts.json
markup       Jinja2 templates of assets/templates, always escaped
highlight    Python as escaped, highlighted HTML
formats      numbers formatted for people
charts       charts of the metrics: their lines of few points, drawn by templates chart_head and chart
theme        the design tokens and the Gradio theme built from them
top_bar      brand, role and the notices of the page
unlock       the card that asks for the owner's key
live_home    what open pages show of the home, read once for all of them
offer        the source that the page offers first
links        links to the page that people share
threads      a thread pool for generators and long calls
recent       a short cache of what many visitors request at once
failures     an unexpected error as a sentence with a number
"""

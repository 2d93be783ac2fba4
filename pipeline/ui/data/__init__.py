"""The Data tab.

tab           the source card, scans, what they found and samples of it
scans         scans, shared by everybody who asks for the same one
reading       which sources a visitor may scan
report_view   a report as figures and bars
sample_view   one kept file as HTML
prepare_card  the form that prepares a corpus, and the list of corpora
corpus_form   what that form means, and what it will take
inspect_card, inspection
              windows and key tokens of sample files
push_form     pushing a corpus to the Hub
"""

"""The Data tab.

tab           the source card, scans, their results and samples
scans         scans, shared by all browsers that request the same one
source_fields the fields that name a source
reading       which sources a visitor may scan
report_view   a report as numbers, bars and sentences
sample_view   one kept file as HTML
prepare_card  the form that prepares a corpus, and the list of corpora
corpus_form   the configuration that form describes, and its forecast
inspect_card, inspection
              windows and key tokens of sample files
push_form     pushing a corpus to the Hub
"""

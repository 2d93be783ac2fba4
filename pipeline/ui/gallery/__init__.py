"""The Gallery tab.

tab           pages of kept examples; what visitors and the owner may do with them
search_form   words, run and prompt to search for
example_card  one example's card
"""

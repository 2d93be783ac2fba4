"""The Gallery tab.

tab           pages of kept examples; what visitors and the owner may do with them
example_card  one example's card
"""

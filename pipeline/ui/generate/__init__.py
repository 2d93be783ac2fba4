"""The Generate tab.

tab      prompt, model and sampling; streams completions, keeps examples
answers  the completions that a revision wrote
writing  writes them, at most three updates a second
"""

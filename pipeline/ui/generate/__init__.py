"""The Generate tab.

tab      prompt, model and sampling; streams completions, keeps examples
answers  what a revision made of a prompt
"""

"""What a corpus, a model and a run are. Knows the core alone.

schema           the configuration of a corpus, a model and a run: every field, checked when it is made
recipes          presets and recipes as one table
quality          rules that kept files must pass
prompts          the course's prompts
lr_schedule      the learning rate along a run
memory_estimate  what training takes of memory
parsing          values typed by people, as the types of the fields
"""

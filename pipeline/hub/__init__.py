"""The Hugging Face Hub: the publisher of checkpoints, revisions that are there, corpora as datasets.

push_log     what became of each checkpoint: one run's pushes.jsonl
publisher    one process per home and repo: registers, then uploads
uploader     which revision goes to the Hub next, and when to try again
model_repo   the Hub's model repo: lists its commits, adds one
hub_registry the Hub's revisions behind the registry's calls, for a disk that was wiped
commits      the title of a push's commit, written and read
cards        the card of a model or a dataset
prepared     a corpus, checked before it is pushed
dataset_files the files that go to the Hub for it, without a word of this machine
dataset      one push of a corpus to a dataset repo, asked for by a person
push_job     the same as a job: `python -m pipeline.hub.push_job`
client       huggingface_hub with time limits; its errors as sentences
token        the only reader of the Hub token

What stands below the publisher knows of a Hub. huggingface_hub is imported inside functions: without a repo none of it
is loaded.
"""

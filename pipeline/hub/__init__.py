"""The Hugging Face Hub: publishes checkpoints, lists pushed revisions, pushes corpora as datasets.

push_log     the state of each checkpoint's push: one run's pushes.jsonl
publisher    one process per home and repo: registers checkpoints, then uploads them
uploader     chooses which revision is pushed next; how long the publisher waits for the Hub and before a retry (Patience)
push_attempt one attempt to push one revision, in a process that is ended at its deadline
push_status  why pushes do not arrive, and a person's request to try again
repo_check   token, repo and access, checked before a run
owner        the owner of a model repo that is named without one
takeover     another token or repo replaces the one that processes still use
kept_states  the training states of the newest checkpoints, kept for their push
model_repo   the model repo on the Hub: lists its commits, adds one
hub_registry the Hub's revisions behind the same calls as the local registry, for a disk that was wiped
revision_store the revisions on this disk and on the Hub, merged
archive      what a push carries besides the model: the record of its run and, by option, its training state
bucket       a copy of all finished work in a mounted folder, where the Hub is not the archive
bucket_restore brings it back after the disk was wiped
bucket_keeper calls both, in a thread of the publisher
gallery_file the gallery as one file of the model repo, and back
gallery_push when that file is pushed
card_push    when the card is pushed without a revision: it was evaluated
file_push    pushes such a file by a commit of its own
other_models models of other repos, to complete prompts with
best_tag     the tag `best` of the push with the lowest validation loss
commits      writes and parses the title and the message of a push's commit
card_sections keeps what people wrote into a card
card_facts   what a model's card says of its run and corpus
gallery_merge    what the gallery of a repo is after a push
gallery_dataset  the approved examples as a dataset
curve_image  the image of the losses in a model's card
cards        the card (README.md) of a model or a dataset, from assets/model_card.md.j2 and dataset_card.md.j2
prepared     checks a prepared corpus before it is pushed
dataset_files the files of a corpus that are pushed, without paths of this machine
dataset      one push of a corpus to a dataset repo, requested by a person
push_job     the same push as a job: `python -m pipeline.hub.push_job`
restore      brings archived runs back after the disk was wiped: their records, then the checkpoint of one to resume
restored_corpus brings a corpus back from its dataset
restore_job  what a run needs to be resumed, as a job: `python -m pipeline.hub.restore_job`
background   runs one function that waits for the Hub in a daemon thread, alone or as a job
client       a huggingface_hub client that waits no longer than its caller says; its errors as sentences
token        the only reader of the Hub token

push_log, publisher and revision_store also work without a Hub repo; the other modules are about the Hub.
huggingface_hub is imported inside functions: without a repo it is never loaded.
"""

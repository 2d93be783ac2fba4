"""Training: from a corpus and a configuration to checkpoints. `python -m pipeline.training RUN_FOLDER`.

Read it in this order:

    loop          the whole of a run, top to bottom
    run           what was asked for: request.json, config.json, the corpus; new or resumed
    session       everything a run has in memory, and how that goes into a checkpoint and back
    model         GPT-2 with fresh weights
    loss          one loss per token; windows with key tokens count more
    optimizer     AdamW, decay where GPT-2 wants it; or Muon beside it
    muon          momentum made orthogonal, for the matrices of the blocks
    schedule      the learning rate as a function of the optimizer step
    gradient_accumulation  the gradients of one optimizer step, all of them or none; smaller parts when memory runs out
    divergence    when a loss or the weights are no longer numbers
    checkpoint_writer  checkpoints of one run: small ones at once, large ones beside training
    evaluation    validation loss, the mean over tokens on all processes
    checkpoints   complete or absent: staged, hashed, renamed; the newest that verifies
    data_offset   how far its place in the data is ahead of its step, after a roll-back
    state         what a checkpoint holds beside the model, so that a resumed run is the same to the bit
    sample        a short completion at each evaluation
    run_logger    what a run records: metrics.jsonl, samples.jsonl, status.json, its log
    trackers      where the metrics go beside that: TensorBoard, Trackio, W&B
    distributed   one process or several: who writes, and when all of them stop
    fsdp          a model sharded over the processes, asserted to be
    device        cores, device and precision: measured, not assumed

Knows no Hub and no page. Rank 0 alone writes.
"""

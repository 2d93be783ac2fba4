"""Trains GPT-2 on a corpus as configured and saves checkpoints: `python -m pipeline.training RUN_FOLDER`.

Read it in this order:

    loop          a whole run, from start to end
    run           a run as requested: request.json, config.json, the corpus; new or resumed
    session       all in-memory state of a run, and how it is saved to and restored from a checkpoint
    model         GPT-2 with fresh weights
    loss          the training loss: the mean over tokens, weighted by the key tokens of each window
    cross_entropy  cross-entropy of half-precision logits without a full float32 copy
    optimizer     AdamW without weight decay for biases and layer norms; or Muon for the matrices of the blocks; the schedule
    muon          orthogonalized momentum, for the matrices of the blocks
    gradient_accumulation  the gradients of one optimizer step, all or none; smaller micro-batches when memory runs out
    divergence    detects a loss or weights that are nan or infinite
    checkpoint_writer  when a run's checkpoint is saved, and whether in the background
    evaluation    validation loss, the mean over tokens on all processes
    checkpoints   writes checkpoint folders: complete or absent, old ones deleted
    starter       makes the revision that comes with the program (`make starter`)
    state_file    the format of that part: JSON and safetensors
    state         what a checkpoint holds besides the model, so that a resumed run is bit-identical; the data offset
    sample        a short completion at each evaluation
    run_logger    what a run records: metrics.jsonl, samples.jsonl, status.json, its log
    trackers      additional targets for the metrics: TensorBoard, Trackio, W&B
    distributed   one process or several: rank 0 writes, and all of them stop at the same step
    lost_rank     names the rank that a run of several processes has lost
    fsdp          a model sharded over the processes, and the check that it really is
    device        cores, device and precision: measured, not assumed
    dry_run       two steps, evaluate, save, load, generate: finds errors before a long run

Does not depend on the Hub or the page. Only rank 0 writes.
"""

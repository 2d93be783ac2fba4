"""Checks that lm-evaluation-harness loads a revision as it is, and computes the same log-likelihoods.

    python -m venv harness && harness/bin/pip install -r requirements.txt lm_eval
    harness/bin/python -m benchmarks.harness [REVISION]

In an environment of its own: lm_eval 0.4.13 brings 33 packages and lowers python-dateutil. No task is fetched from the
Hub: the requests are two contexts with two continuations each. REVISION is that of the command line, `newest` unless
given. The last line is one JSON object; `ratio` is the goal divided by the largest difference, in nats.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.generation.decoder import exact
from pipeline.generation.loading import load
from pipeline.generation.sampling import encode
from pipeline.generation.scoring import losses
from pipeline.hub.revision_store import RevisionStore

MAX_NATS = 1e-3
"""Of the sum over a continuation."""
ASKED = (
    ("import numpy as np\nx = np.", "zeros(3)\n"),
    ("import numpy as np\nx = np.", "frogs(3)\n"),
    ("import pandas as pd\ndf = pd.", "read_csv('x.csv')\n"),
    ("import pandas as pd\ndf = pd.", "DataFrame(x)\n"),
)


def main(arguments: list[str]) -> int:
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError:
        print("lm_eval is not installed; see the docstring of benchmarks/harness.py.", file=sys.stderr)
        return 2
    try:
        revision = RevisionStore(Settings.from_environment()).choose(*arguments[:1])
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    theirs: Any = HFLM(pretrained=str(revision.path), device="cpu", dtype="float32", batch_size=1)
    instances = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=index) for index, pair in enumerate(ASKED)
    ]
    found = [likelihood for likelihood, _ in theirs.loglikelihood(instances)]
    model, tokenizer = load(revision.path)
    decoder = exact(model)
    differences = []
    for (context, continuation), likelihood in zip(ASKED, found, strict=True):
        num_given = len(encode(tokenizer, context))
        own = -math.fsum(losses(decoder, encode(tokenizer, context + continuation))[num_given - 1 :])
        differences.append(abs(own - likelihood))
        print(f"{continuation.strip():20} harness {likelihood:9.4f}  ours {own:9.4f}")
    ratio = min(MAX_NATS / max(*differences, 1e-12), 1e6)
    print(json.dumps({"ratio": ratio, "goal": 1, "ok": ratio >= 1, "checks": []}))
    return 0 if ratio >= 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

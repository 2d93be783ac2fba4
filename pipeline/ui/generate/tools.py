"""What a person takes along from a completion: files to run elsewhere, and how to use its model in Python."""

from __future__ import annotations

import base64
from typing import Any

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.gallery.download import KeptText, file_of
from pipeline.gallery.example import Example
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.answers import Completion
from pipeline.ui.shared.markup import render

TYPES = {"py": "text/x-python", "ipynb": "application/x-ipynb+json"}


def tools(completion: Completion, revision: Revision | None, *, is_owner: bool) -> str:
    """The end of the completion card. `revision`: what wrote it, if it is still there. A kept example is downloaded from
    the server, another completion from the page itself.
    """
    example = completion.example
    if not completion.has_text:
        return ""
    if example is not None:
        files = {kind: f"studio/example/{example.id}.{kind}" for kind in TYPES}
    else:
        source = _source(completion)
        files = {kind: _data_url(file_of(source, kind), TYPES[kind]) for kind in TYPES}
    name = f"codeparrot-{example.id}" if example else "codeparrot-completion"
    snippet = _snippet(completion, revision, is_owner=is_owner) if revision else ""
    return render("completion_tools", files=files, name=name, snippet=snippet)


def _source(completion: Completion) -> KeptText:
    """What the first revision wrote."""
    answer = completion.answers[0]
    facts: dict[str, Any] = {name: getattr(answer.revision, name) for name in ("repo", "revision", "run", "step")}
    seed = completion.sampling["seed"]
    return KeptText(
        title="", prompt=completion.prompt, texts=answer.texts, settings=completion.sampling, seed=seed, **facts
    )


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _snippet(completion: Completion, revision: Revision, *, is_owner: bool) -> str:
    """Python that completes the prompt with the same commit; empty where the model is on this machine only and the
    reader is not its owner, who alone may learn its path.
    """
    if revision.commit and "/" in revision.repo:
        model = f"{revision.repo!r}, revision={revision.commit!r}"
    elif is_owner:
        model = repr(str(revision.path))
    else:
        return ""
    try:
        sampling = Sampling(**completion.sampling)
    except (PipelineError, TypeError):  # of an example that somebody else wrote into the archive
        return ""
    settings = [f"max_new_tokens={sampling.max_new_tokens}"]
    if sampling.temperature:
        names = ("temperature", "top_p", "top_k")
        settings += ["do_sample=True", *(f"{name}={getattr(sampling, name)!r}" for name in names)]
    else:
        settings.append("do_sample=False")
    drawn = "# The page draws with random numbers of its own, so this seed gives another text.\n"
    return (
        "from transformers import pipeline, set_seed\n\n"
        f"generate = pipeline('text-generation', model={model})\n"
        f"{drawn if sampling.temperature else ''}set_seed({sampling.seed})\n"
        f"prompt = {completion.prompt!r}\n"
        f"print(generate(prompt, {', '.join(settings)})[0]['generated_text'])\n"
    )


def revision_of(answer: Revision | Example, known: list[Revision]) -> Revision | None:
    """The revision that wrote an answer; None when it is gone."""
    if isinstance(answer, Revision):
        return answer
    return next((r for r in known if (r.repo, r.revision) == (answer.repo, answer.revision)), None)

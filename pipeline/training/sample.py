"""Writes a short completion at each evaluation, so that a person can see what the model has learned."""

from __future__ import annotations

from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.training.run_logger import RunLogger
from pipeline.training.session import Session

NEW_TOKENS = 24


def write_sample(session: Session, logger: RunLogger, step: int) -> None:
    """Let the model complete the course's first prompt. A prompt that does not fit is only logged."""
    from pipeline.generation.sampling import complete
    from pipeline.generation.settings import Sampling

    prompt = course_prompts()[0]
    sampling = Sampling(max_new_tokens=NEW_TOKENS, temperature=0.6, seed=session.run.config.training.seed)
    try:
        text = complete(session.plain_model, session.tokenizer, prompt.text, sampling)[0]
    except PipelineError as error:
        logger.say(f"no sample at step {step}: {error}")
    else:
        logger.sample(step, prompt, text)

"""Writes a short completion at each evaluation, so that a person can see what the model has learned."""

from __future__ import annotations

from pipeline.config.prompts import SAMPLE_TEMPERATURE, SAMPLE_TOKENS, course_prompts
from pipeline.core.errors import PipelineError
from pipeline.training.run_logger import RunLogger
from pipeline.training.session import Session


def write_sample(session: Session, logger: RunLogger, step: int) -> None:
    """Let the model complete the course's first prompt. A prompt that does not fit is only logged."""
    from pipeline.generation.sampling import complete
    from pipeline.generation.settings import Sampling

    prompt = course_prompts()[0]
    seed = session.run.config.training.seed
    sampling = Sampling(max_new_tokens=SAMPLE_TOKENS, temperature=SAMPLE_TEMPERATURE, seed=seed)
    try:
        text = complete(session.plain_model, session.tokenizer, prompt.text, sampling)[0]
    except PipelineError as error:
        logger.say(f"no sample at step {step}: {error}")
    else:
        logger.sample(step, prompt, text)

"""How far a run's place in its data is ahead of its step: only after it was rolled back past windows it could not bear."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Position:
    skipped_steps: int = 0
    """Steps' worth of windows that were passed over."""
    rollbacks: int = 0

    def state_dict(self) -> dict[str, int]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.skipped_steps, self.rollbacks = state["skipped_steps"], state["rollbacks"]

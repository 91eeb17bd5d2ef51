"""How hard a model is to fool."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AttackConfig:
    """How hard it is to fool: what is measured, and what is trained for it. Shares are from 0 to 1."""

    attacked_examples: int
    robust: bool
    slips: tuple[float, ...]
    changed_words: tuple[float, ...]
    pixel_budgets: tuple[float, ...]
    attack_steps: int

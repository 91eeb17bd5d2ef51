"""Robustness: attacks, and training against them."""

from dataclasses import dataclass

from xmodal.config.fields import Group, option


@dataclass(frozen=True)
class AttackConfig(Group):
    """Robustness: attacks, and training against them."""

    attacked_examples: int = option(0, "Test examples that are attacked; 0 disables attacks.", least=0)
    robust: bool = option(
        False,
        "Also train on adversarial examples (typing noise; FGSM), beside a training without them; the"
        " robust model is exported.",
    )
    slips: tuple[float, ...] = option(
        ("0.02", "0.05", "0.1"),
        "Rates of typing noise: fractions of the letters.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    changed_words: tuple[float, ...] = option(
        ("0.05", "0.1", "0.2"),
        "Maximum fractions of the words that an attack changes.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    pixel_budgets: tuple[float, ...] = option(
        ("2", "8"),
        "Maximum changes of a pixel by an attack, of 255 (epsilon).",
        above=0,
        most=255,
        parse=float,
        filled=True,
        rising=True,
    )
    attack_steps: int = option(10, "Steps of PGD.", least=1)

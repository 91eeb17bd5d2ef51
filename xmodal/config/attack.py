"""How hard a model is to fool."""

from dataclasses import dataclass

from xmodal.config.fields import Group, option


@dataclass(frozen=True)
class AttackConfig(Group):
    """How hard it is to fool: what is measured, and what is trained for it. Shares are from 0 to 1."""

    attacked_examples: int = option(0, "Test examples that are attacked; 0 attacks none.", least=0)
    robust: bool = option(
        False,
        "Train on examples like the attacks' too (slips of the keyboard; FGSM), beside a training without "
        "them; the robust model is the one that is exported.",
    )
    slips: tuple[float, ...] = option(
        ("0.02", "0.05", "0.1"),
        "Shares of the letters that typing noise falls on.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    changed_words: tuple[float, ...] = option(
        ("0.05", "0.1", "0.2"),
        "Most shares of the words that an attack changes.",
        above=0,
        most=1,
        parse=float,
        filled=True,
        rising=True,
    )
    pixel_budgets: tuple[float, ...] = option(
        ("2", "8"),
        "Most that an attack changes a pixel by, of 255.",
        above=0,
        most=255,
        parse=float,
        filled=True,
        rising=True,
    )
    attack_steps: int = option(10, "Steps of PGD.", least=1)

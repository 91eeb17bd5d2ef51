"""Adaptive transfer: what fits the data, found within a time."""

from dataclasses import dataclass

from xmodal.config.experiments import EXPERIMENTS
from xmodal.config.fields import Group, option

SEARCHED = tuple(dict.fromkeys(name for each in EXPERIMENTS.values() for name in each.searched))
A_WEEK = 7 * 24 * 60


@dataclass(frozen=True)
class SearchConfig(Group):
    """Adaptive transfer: what fits the data, found within a time."""

    minutes: float = option(
        0.0,
        "Minutes for a search, on the validation split, for the flags that fit the data, and for the training"
        " with them; comparisons, texts of images and the export take their own time. 0 searches nothing.",
        least=0,
        most=A_WEEK,
    )
    fixed: tuple[str, ...] = option(
        (),
        "Flags that the search leaves as they are; those on the command line are among them.",
        choices=SEARCHED,
    )

"""What an answer promises: the set that the right one is in, and whether the input is of a known kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from xmodal.evaluation.answer_sets import AnswerSets
from xmodal.evaluation.open_set import KnownInputs

# How the words begin that an export has for a strange input.
NONE_OF_THESE = "probably none of these"


@dataclass(frozen=True)
class AnswerLimits:
    """What is served beside an answer.

    Attributes:
        sets: which answers belong into a set.
        known: how strange an input is. One that is stranger than a share of 1 - `sets.error` of the known
            ones is called none of these.
        of_class: the answer of each class of an image model, whose doubts decide among answers that a
            sentence makes equal; None where nothing is equal.
        sets_of_parts: those that count for inputs of which some modalities alone are there, by these.
    """

    sets: AnswerSets
    known: KnownInputs
    of_class: np.ndarray | None = None
    sets_of_parts: Mapping[tuple[str, ...], AnswerSets] = field(default_factory=dict)

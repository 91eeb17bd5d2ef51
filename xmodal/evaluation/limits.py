"""What an answer promises: the set that the right one is in, and whether the input is of a known kind."""

from dataclasses import dataclass

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
    """

    sets: AnswerSets
    known: KnownInputs
    of_class: np.ndarray | None = None

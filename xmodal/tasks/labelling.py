"""One label for each example, or any number of them: what is minimised, how answers are measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

import keras
import numpy as np

from xmodal.data.examples import Labelled
from xmodal.evaluation.calibrated_result import CalibratedResult, calibrated_result
from xmodal.evaluation.several_labels import best_labels_on_validation, calibrated_labels
from xmodal.training.baselines import best_on_validation
from xmodal.training.losses import cross_entropy
from xmodal.training.steps import Loss


@dataclass(frozen=True)
class Labelling:
    """What follows from how many labels an example has.

    Attributes:
        loss: of logits, which trainings minimise.
        truth: a split -> what answers for it are compared with.
        calibrated: as `calibrated_result`.
        best_on_validation: name -> logits (V, C), and the truth -> the name of the best.
    """

    loss: Loss | keras.losses.Loss
    truth: Callable[[Labelled], np.ndarray]
    calibrated: Callable[..., CalibratedResult]
    best_on_validation: Callable[[Mapping[str, np.ndarray], np.ndarray], str]


ONE_LABEL = Labelling(cross_entropy(), attrgetter("labels"), calibrated_result, best_on_validation)
SEVERAL_LABELS = Labelling(
    keras.losses.BinaryCrossentropy(from_logits=True),
    attrgetter("targets"),
    calibrated_labels,
    best_labels_on_validation,
)

"""What unlabelled images, and then a few labels, add to the answers of `names_to_answers`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.bridge.adaptation import class_prior, fit_probe, self_train, standardiser
from xmodal.bridge.name_answers import ENOUGH_IMAGES
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import FLOOR, softmax
from xmodal.evaluation.repeats import Mean, mean_of
from xmodal.recipes.names_to_answers.readers import Seen


@dataclass(frozen=True)
class Shots:
    """What was measured with k labelled images of each answer.

    Attributes:
        count: k.
        probe, probe_and_names: accuracies over the draws.
        gain: the difference.
    """

    count: int
    probe: Mean
    probe_and_names: Mean
    gain: Mean


def adapted(adapt: str, seen: dict[str, Seen], logits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns logits of the answers after looking at images without labels, by part.

    Args:
        adapt: "prior" or "self_train".
        seen: what the speaker makes of the images of each part: "test" and, where there are others, "train".
        logits: the names' own answers.

    Raises:
        UserError: for fewer images than can be learned from.
    """
    if adapt == "prior":
        return {
            part: np.log(np.maximum(class_prior(softmax(each))[1], FLOOR)) for part, each in logits.items()
        }
    unlabelled = "train" if "train" in seen else "test"
    images, answers = logits[unlabelled].shape
    if images < ENOUGH_IMAGES * answers:
        raise UserError(
            f"`adapt=self_train` learns nothing sound from {images:,} images for {answers} answers",
            f"give {ENOUGH_IMAGES * answers:,} images or more, or leave it out",
        )
    reader = self_train(seen[unlabelled].features, logits[unlabelled])
    return {part: reader(each.features) for part, each in seen.items()}


def learning_curve(
    shots: Sequence[int],
    draws: int,
    seed: int,
    seen: dict[str, Seen],
    logits: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
) -> list[Shots]:
    """Compares probes of few labels with and without the names, on the same draws.

    Args:
        shots: labelled images of each answer; 0 is left out.
        draws: how many times they are drawn.
        seed: of the first draw.
        seen: what the speaker makes of "train" and "test".
        logits: the names' answers for both, without labels.
        labels: the right answers for both.
    """
    standardise = standardiser(seen["train"].features)
    x = {part: standardise(each.features) for part, each in seen.items()}
    opinion = {part: softmax(each) for part, each in logits.items()}

    def right(shown: np.ndarray, offsets: dict[str, tuple[float, ...]]) -> np.ndarray:
        probe = fit_probe(x["train"][shown], labels["train"][shown], opinion["train"][shown], **offsets)
        return probe.scores(x["test"], opinion["test"]).argmax(axis=1) == labels["test"]

    curve = []
    for count in filter(None, shots):
        drawn = [_draw(labels["train"], count, seed + number) for number in range(draws)]
        without = np.stack([right(shown, {"offsets": (0.0,)}) for shown in drawn]).astype(float)
        names = np.stack([right(shown, {}) for shown in drawn]).astype(float)
        curve.append(Shots(count, mean_of(without), mean_of(names), mean_of(names - without)))
    return curve


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the positions of `count` images of each answer, or of all that there are."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)])

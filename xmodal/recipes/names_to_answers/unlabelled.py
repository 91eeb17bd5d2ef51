"""What unlabelled images add to the answers of `names_to_answers`."""

import numpy as np

from xmodal.bridge.adaptation import class_prior, self_train
from xmodal.bridge.name_answers import ENOUGH_IMAGES
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import FLOOR, softmax
from xmodal.recipes.seeing import Seen


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

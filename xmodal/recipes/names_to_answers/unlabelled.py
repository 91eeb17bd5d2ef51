"""What unlabelled images add to the answers of `names_to_answers`."""

from dataclasses import dataclass, replace

import numpy as np

from xmodal.bridge.adaptation import LinearMap, class_prior, self_train
from xmodal.bridge.name_answers import ENOUGH_IMAGES
from xmodal.config.names import NOISY_STUDENT, SELF_TRAIN
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import FLOOR, softmax
from xmodal.recipes.names_to_answers.photographs import Photographs
from xmodal.recipes.names_to_answers.student import TRANSFER, Network, Student, train_student
from xmodal.recipes.seeing import SEEING, Seen
from xmodal.runs.session import Session

PRIOR = "prior"


@dataclass(frozen=True)
class Adapted:
    """Answers after looking at images without labels.

    Attributes:
        read: logits of the answers (B, C) for the test images, by the way; what learned most comes first.
        logits: the same by part of the images, without a student.
        reader: the speaker's features (B, D) -> logits of the answers (B, C); None where none was trained.
        student: a second network that learned from it; None without one.
    """

    read: dict[str, np.ndarray]
    logits: dict[str, np.ndarray]
    reader: LinearMap | None = None
    student: Student | None = None


def adapt(
    session: Session,
    photographs: Photographs,
    answers: tuple[str, ...],
    seen: dict[str, Seen],
    logits: dict[str, np.ndarray],
    network: Network | None,
) -> Adapted:
    """Adapts answers to images without labels, as `--adapt` says.

    Args:
        session: the run.
        photographs: the images.
        answers: the names of the C answers.
        seen: what the speaker makes of the images of each part: "test" and, where there are others, "train".
        logits: the names' own answers (N, C), by part.
        network: that becomes the student, as `student.transfer_student` returns it.

    Raises:
        UserError: for fewer images than can be learned from.
    """
    way = session.config.names.adapt
    if way == "none":
        return Adapted({}, logits)
    if way == PRIOR:
        with session.clock.stage(PRIOR):
            logits = {part: _with_prior(array) for part, array in logits.items()}
        session.seconds(PRIOR, SEEING, PRIOR)
        return Adapted({PRIOR: logits["test"]}, logits)
    with session.clock.stage(SELF_TRAIN):
        part = "train" if "train" in seen else "test"
        _require_enough(way, *logits[part].shape)
        reader = self_train(seen[part].features, logits[part])
        taught_logits = {part: reader(array.features) for part, array in seen.items()}
    session.seconds(SELF_TRAIN, SEEING, SELF_TRAIN)
    adaptation = Adapted({SELF_TRAIN: taught_logits["test"]}, taught_logits, reader)
    if network is None:
        return adaptation
    student = train_student(session, network, photographs, answers, (logits, taught_logits))
    session.seconds(NOISY_STUDENT, SELF_TRAIN, TRANSFER, NOISY_STUDENT)
    return replace(adaptation, read={NOISY_STUDENT: student.logits} | adaptation.read, student=student)


def _with_prior(logits: np.ndarray) -> np.ndarray:
    _, posterior = class_prior(softmax(logits))
    return np.log(np.maximum(posterior, FLOOR))


def _require_enough(adapt: str, images: int, answers: int) -> None:
    if images < ENOUGH_IMAGES * answers:
        raise UserError(
            f"`adapt={adapt}` learns nothing sound from {images:,} images for {answers} answers",
            f"give {ENOUGH_IMAGES * answers:,} images or more, or leave it out",
        )

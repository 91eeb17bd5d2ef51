"""A network with transferred weights learns from images without labels what the names said of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from xmodal.config.names import NOISY_STUDENT
from xmodal.data.images import ImageData
from xmodal.evaluation.calibration import softmax
from xmodal.models.trainable import set_trainable
from xmodal.recipes.image_training import train_images, transfer_backbone
from xmodal.recipes.names_to_answers.photographs import Photographs
from xmodal.runs.session import Session
from xmodal.training.progress import History
from xmodal.transfer.weights import TransferReport

# Of the images that an answer gets, how many it is learned from: those it is most probable for. Chosen on
# training images of CIFAR-10, where it makes little difference at equal numbers: soft answers weigh doubt
# themselves, and fewer images take less time.
SURE = 0.6
# One of so many images is not learned from: the best weights are those that agree most with its answer.
HELD_OUT = 20

# The stage in which its weights are moved.
TRANSFER = "transfer"

Network = tuple[keras.Model, TransferReport]


@dataclass(frozen=True)
class Student:
    """What became of a network that learned answers which nobody labelled.

    Attributes:
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits of the answers (B, C).
        logits: of the test images (B, C), of the network and its teacher together.
        histories: of its trainings.
        transfer: where its weights came from.
    """

    model: keras.Model
    logits: np.ndarray
    histories: tuple[History, ...]
    transfer: TransferReport


def sure_images(teachers: tuple[np.ndarray, ...]) -> np.ndarray:
    """Chooses the images that teach: those whose answer all teachers share and the last is surest of.

    Every answer has the same share of its images, so that an answer which is given with less confidence is
    learned too.

    Args:
        teachers: logits of the answers (N, C) of each.

    Returns:
        Their positions (n,), ascending.
    """
    answers = np.stack([logits.argmax(axis=1) for logits in teachers])
    agreement = (answers == answers[-1]).all(axis=0)
    confidence = softmax(teachers[-1]).max(axis=1)
    positions = []
    for answer in np.unique(answers[-1]):
        candidates = np.flatnonzero(agreement & (answers[-1] == answer))
        count = round(SURE * (answers[-1] == answer).sum())
        positions.append(candidates[np.argsort(-confidence[candidates], kind="stable")[:count]])
    return np.sort(np.concatenate(positions))


def transfer_student(session: Session, photographs: Photographs) -> Network | None:
    """Builds the target with the base's weights, before anything that takes long; None if none is to learn.

    Raises:
        UserError: for a network, weights or layers that are not there.
    """
    config = session.config
    if config.names.adapt != NOISY_STUDENT:
        return None
    with session.clock.stage(TRANSFER):
        backbone, transfer = transfer_backbone(config, photographs.unlabelled, session.trainer)
        set_trainable(backbone, config.image.trainable)
    session.clock.log(transfer.line())
    return backbone, transfer


def train_student(
    session: Session,
    network: Network,
    photographs: Photographs,
    answers: tuple[str, ...],
    teachers: Sequence[dict[str, np.ndarray]],
) -> Student:
    """Trains a network with transferred weights on soft answers that no label made.

    Self-training with a noisy student (Xie et al. 2020, arXiv:1911.04252): the teacher answers about the
    images as they are, the student learns these answers from augmented ones, with dropout and an average of
    its weights where the flags say so. It is begun, stopped and chosen without a label.

    Args:
        session: the run; its flags say how the network is trained.
        network: as `transfer_student` returns it.
        photographs: the images.
        answers: the C names of the answers.
        teachers: logits of the answers (N, C) by part of the images, as `photographs` has them; what is
            learned is what the last one says.
    """
    part = "train" if photographs.train is not None else "test"
    data = taught_data(photographs, answers, tuple(logits[part] for logits in teachers))
    backbone, transfer = network
    with session.clock.stage(NOISY_STUDENT):
        classifier, held_out = train_images(
            backbone, data, session.config.image, session.trainer, name=NOISY_STUDENT
        )
    # The geometric mean of their probabilities.
    mean_logits = (held_out.test + teachers[-1]["test"]) / 2
    return Student(classifier.model, mean_logits, classifier.histories, transfer)


def taught_data(
    photographs: Photographs, answers: tuple[str, ...], teachers: tuple[np.ndarray, ...]
) -> ImageData:
    """Returns the images that teach, with soft answers in the place of labels, and those to be answered."""
    shares = softmax(teachers[-1]).astype(np.float32)
    images = replace(
        photographs.unlabelled,
        labels=shares.argmax(axis=1).astype(np.int32),
        shares=shares,
    )
    positions = sure_images(teachers)
    validation = np.arange(len(positions)) % HELD_OUT == 0
    return ImageData(
        images.take(positions[~validation]),
        images.take(positions[validation]),
        photographs.test,
        answers,
        photographs.report,
    )

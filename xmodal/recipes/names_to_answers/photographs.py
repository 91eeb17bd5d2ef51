"""What `names_to_answers` asks about, and what it asks: photographs, and answers in words."""

from dataclasses import dataclass

import numpy as np

from xmodal.bridge.class_names import readable, with_article
from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.data.audit import DataReport
from xmodal.data.image_sources import is_unlabelled
from xmodal.data.images import ImageSplit
from xmodal.data.target_map import Answers, read_answers
from xmodal.runs.inputs import load_configured_images, load_configured_unlabelled

MAX_ANSWERS = 1000


@dataclass(frozen=True)
class Photographs:
    """Images to answer about, and others of the same data to learn from.

    Attributes:
        test: those that are answered.
        train: the others; None where all are answered.
        class_names: of the labels; none where there are no labels.
        report: of the audit.
    """

    test: ImageSplit
    train: ImageSplit | None
    class_names: tuple[str, ...]
    report: DataReport

    @property
    def unlabelled(self) -> ImageSplit:
        """The images that are learned from without labels: the others, or all where there are no others."""
        return self.test if self.train is None else self.train


@dataclass(frozen=True)
class Question:
    """The answers to choose from, and what is right where that is known.

    Attributes:
        answers: C of them in words.
        right: the right answer of each image of "test" and "train"; none without labels.
    """

    answers: Answers
    right: dict[str, np.ndarray]


def photographs_of(config: Config) -> Photographs:
    """Reads and audits the images that the flags name.

    Raises:
        UserError: when labels are asked for that are not there, or nobody speaks.
    """
    if config.names.speaker == "none":
        raise UserError("`speaker=none` knows no names", "give `speaker=efficientnet_lite0_imagenet`")
    if not is_unlabelled(config.data.dataset):
        data = load_configured_images(config)
        return Photographs(data.test, data.train, data.class_names, data.report)
    if any(config.names.shots):
        raise UserError(
            f"`shots` needs labels, and `dataset={config.data.dataset}` has none",
            "leave it out, or give labelled images",
        )
    test, labels = load_configured_unlabelled(config)
    return Photographs(test, None, (), labels)


def question_of(config: Config, photographs: Photographs) -> Question:
    """Reads the answers, and finds those that are right for the labels of the images.

    Raises:
        UserError: for answers that cannot be chosen among, and labels that are none of them.
    """
    names = photographs.class_names
    if config.names.answers:
        answers = read_answers(config.names.answers)
    elif names:
        texts = tuple(f"a photo of {with_article(readable(name))}" for name in names)
        answers = Answers(names, texts, np.arange(len(names)))
    else:
        raise UserError("there are no answers to choose from", 'give `answers`, such as "dog,cat,truck"')
    if len(answers.names) > MAX_ANSWERS:
        raise UserError(
            f"{len(answers.names):,} answers are more than the {MAX_ANSWERS:,} that a report can show",
            "give fewer, or ask an export by `python -m xmodal.ask`, which takes any number",
        )
    if not names:
        return Question(answers, {})
    of_class = np.array([_answer_of(name, answers) for name in names])
    splits = {"test": photographs.test, "train": photographs.train}
    return Question(answers, {part: of_class[split.labels] for part, split in splits.items() if split})


def _answer_of(name: str, answers: Answers) -> int:
    """The answer that a class is: one of its name, or the one that has it among its descriptions."""
    if name in answers.names:
        return answers.names.index(name)
    if name in answers.texts:
        return int(answers.targets[answers.texts.index(name)])
    raise UserError(
        f"the class {name!r} of the images is none of the answers",
        "add a line with it to `answers`, or give the images as unlabelled:PATH",
    )

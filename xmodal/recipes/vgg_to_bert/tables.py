"""What is reported of `vgg_to_bert`."""

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.target_map import TargetMap
from xmodal.evaluation.intervals import Gain, paired_gain
from xmodal.evaluation.metrics import Held
from xmodal.evaluation.selection import gallery_indices
from xmodal.recipes.image_baselines import Baselines
from xmodal.recipes.transfer_worth import Worth, worth_table
from xmodal.recipes.vgg_to_bert.questions import Measured
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.baselines import NO_TRANSFER
from xmodal.training.progress import History

GALLERY_EACH = 8
PROJECTED_IMAGES = 500
COMPARISONS = (
    # Without --robust, image_plain is image_only.
    ("image_plain", NO_TRANSFER, "transfer of weights"),
    ("image_only", "image_plain", "training on images of FGSM too"),
    ("text", "image_only", "answering through text"),
    ("fused", "image_only", "adding the text's scores"),
    ("zero_image", "image_only", "training the answer on text alone"),
)


def right_answers(measured: Measured, truth: Held) -> np.ndarray:
    """Returns, by name, which of the test images (N,) were answered rightly."""
    return measured.probabilities.argmax(axis=1) == truth.test


def paired_gains(measured: dict[str, Measured], truth: Held) -> tuple[Gain, ...]:
    """Compares the answers, two by two, on the test images."""
    right = {name: right_answers(item, truth) for name, item in measured.items()}
    right.setdefault("image_plain", right["image_only"])
    return tuple(paired_gain(right[a], right[b], what=what) for a, b, what in COMPARISONS if b in measured)


def gallery_items(config: Config, data: ImageData, probabilities, truth, sentences, question):
    """Picks test images to show, with their sentences and answers."""
    picked = gallery_indices(probabilities, truth, GALLERY_EACH, config.run.seed)
    return tuple(
        report.GalleryItem(
            png=data.test.encoded(index),
            id=data.test.ids[index],
            truth=question.names[truth[index]],
            predicted=question.names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=" | ".join(sentences[index]),
            kind=kind,
        )
        for kind, indices in picked.items()
        for index in indices
    )


def projected_points(
    test: ImageSplit,
    truth: np.ndarray,
    sentences: np.ndarray,
    text: TextClassifier,
    question: TargetMap,
    strategy,
) -> report.Points:
    """Sentences of test images, and the descriptions of the answers, as the text encoder sees them."""
    places = test.spread(PROJECTED_IMAGES)
    words = [*sentences[places, 0], *question.descriptions]
    targets = [*truth[places], *question.targets]
    return report.Points(
        vectors=text.vectors(words, strategy),
        labels=tuple(question.names[target] for target in targets),
        words=tuple(words),
        pictures=(*(test.encoded(place) for place in places), *[b""] * len(question.descriptions)),
    )


def seconds_of_results(stages: dict[str, float], without: Baselines | None) -> dict[str, float]:
    """Adds up the stages that each result needs."""
    image = stages["transfer"] + stages["image classifier"]
    text = image + stages["bridge"] + stages.get("text: head", 0.0)
    return {
        "image_only": image,
        "text": text,
        "fused": text,
        "zero_image": image + stages["bridge"] + stages.get("text: head on text alone", 0.0),
        "text_zero_shot": image + stages["bridge"] + stages["text: zero shot"],
        "image_plain": stages["transfer"] + stages.get("plain image classifier", 0.0),
        **(without.seconds(stages) if without else {}),
    }


def image_and_text_histories(images, without: Baselines | None, text, zero_image) -> tuple[History, ...]:
    """Returns the histories of all trainings, in their order."""
    texts = [model.history for model in (text, zero_image) if model.history]
    return (*images.histories, *texts, *(without.histories if without else ()))


def report_tables(worth: list[Worth], without: Baselines | None) -> tuple[report.Table, ...]:
    """Returns the tables of the report."""
    # With a single row it says no more than the results do.
    worth_tables = (worth_table(worth, "images"),) if len(worth) > 1 else ()
    return worth_tables + (without.tables() if without else ())

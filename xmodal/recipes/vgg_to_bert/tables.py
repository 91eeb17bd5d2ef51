"""What is reported of `vgg_to_bert`."""

from collections.abc import Mapping

import numpy as np

from xmodal import report
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.target_map import TargetMap
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.evaluation.metrics import HeldOut
from xmodal.recipes.transfer_worth import Worth, worth_table
from xmodal.recipes.vgg_to_bert.questions import BridgeSentences, TransferredImages, pool_answers
from xmodal.recipes.vgg_to_bert.speaker import SpokenImages, names_tables
from xmodal.robustness.attacked import training_cost
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import ImageClassifier
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.baselines import NO_TRANSFER
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer

GALLERY_EACH = 8
PROJECTED_IMAGES = 500
COMPARISONS = (
    # Without --robust, image_plain is image_only.
    ("image_plain", NO_TRANSFER, "transfer of weights"),
    ("image_only", "image_plain", "training on images of FGSM too"),
    ("text", "image_only", "answering through text"),
    ("both_texts", "image_only", "answering through text, with what the speaker says beside it,"),
    ("both_texts", "text", "adding what the speaker says"),
    ("fused", "image_only", "adding the text's scores"),
    ("zero_image", "image_only", "training the answer on text alone"),
)


def build_report(
    session: Session,
    data: ImageData,
    question: TargetMap,
    truth: HeldOut,
    sentences: BridgeSentences,
    measured: Mapping[str, CalibratedResult],
    text_models: Mapping[str, TextClassifier],
    images: TransferredImages,
    spoken: SpokenImages | None,
) -> report.Run:
    """Puts what was measured of the transferred networks into the records of a report."""
    config, words = session.config, sentences.held_out
    headline = "both_texts" if spoken else "text"

    def sentence(index: int) -> str:
        bridge_text = " | ".join(words.test[index])
        return f"{bridge_text} | {spoken.speaker.name}: {spoken.sentences[index]}" if spoken else bridge_text

    _, image_weight = pool_answers(measured["image_only"].logits, measured["text"].logits, truth)
    cost = (
        training_cost("image_only", "image_plain", session.result_seconds)
        if "image_plain" in measured
        else {}
    )
    return report.Run(
        **session.metadata(),
        title=f"{config.image.base} to {config.image.target} to text to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()},
        gains=paired_comparisons(measured),
        transfer=images.transfer,
        histories=histories_of(images.classifier, text_models),
        gallery=report.gallery_items(
            measured[headline].probabilities,
            truth.test,
            question.names,
            per_kind=GALLERY_EACH,
            seed=config.run.seed,
            png=data.test.picture,
            id=lambda index: data.test.ids[index],
            sentence=sentence,
            **({"original": data.test.encoded} if data.test.medium else {}),
        ),
        facts={
            **cost,
            "temperature of the image classifier": images.temperature,
            "weight of the image in fused": image_weight,
            "sentences": words.validation.size + words.test.size,
            "distinct sentences": len(np.unique(np.concatenate([words.validation, words.test]))),
        },
        headline=headline,
        tables=names_tables(spoken, question),
        points=projected_points(
            data.test, truth.test, words.test, text_models["text"], question, session.trainer
        ),
    )


def paired_comparisons(measured: Mapping[str, CalibratedResult]) -> tuple[Comparison, ...]:
    """Compares the answers, two by two, on the test images."""
    right = {name: item.correct for name, item in measured.items()}
    right.setdefault("image_plain", right["image_only"])
    return tuple(
        compare_paired(right[a], right[b], what=what)
        for a, b, what in COMPARISONS
        if a in right and b in measured
    )


def projected_points(
    test: ImageSplit,
    truth: np.ndarray,
    sentences: np.ndarray,
    text: TextClassifier,
    question: TargetMap,
    trainer: Trainer,
) -> report.Points:
    """Sentences of test images, and the descriptions of the answers, as the text encoder embeds them."""
    indices = test.spread(PROJECTED_IMAGES)
    words = [*sentences[indices, 0], *question.descriptions]
    targets = [*truth[indices], *question.targets]
    return report.Points(
        vectors=text.vectors(words, trainer),
        labels=tuple(question.names[target] for target in targets),
        words=tuple(words),
        pictures=(*(test.picture(index) for index in indices), *[b""] * len(question.descriptions)),
    )


def histories_of(
    classifier: ImageClassifier, text_models: Mapping[str, TextClassifier]
) -> tuple[History, ...]:
    """Returns the histories of the trainings, in their order."""
    texts = [text_models[name].history for name in ("text", "zero_image")]
    histories = tuple(history for history in texts if history)
    return classifier.histories + histories


def worth_tables(worth: list[Worth]) -> tuple[report.Table, ...]:
    """Returns a table of what transfer is worth; with a single row it says no more than the results do."""
    return (worth_table(worth, "images"),) if len(worth) > 1 else ()

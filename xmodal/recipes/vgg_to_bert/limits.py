"""What the answers to images promise."""

from collections.abc import Mapping

import numpy as np

from xmodal.data.images import ImageData
from xmodal.data.target_map import TargetMap
from xmodal.evaluation.answer_sets import set_scores
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.open_set import fit_known_inputs
from xmodal.recipes.limits import SAMPLED, MeasuredLimits, measure_limits
from xmodal.recipes.vgg_to_bert.questions import TransferredImages, from_classes
from xmodal.recipes.vgg_to_bert.speaker import SpokenImages
from xmodal.runs.session import Session
from xmodal.tasks.image_features import sample_features


def image_limits(
    session: Session,
    data: ImageData,
    question: TargetMap,
    images: TransferredImages,
    measured: Mapping[str, CalibratedResult],
    truth: HeldOut,
    spoken: SpokenImages | None,
) -> MeasuredLimits:
    """Fits and measures what is promised of the exported answers to images.

    How strange an image is, is measured by the class logits and the backbone's features and, where a speaker
    speaks, by its names.

    Args:
        session: the run.
        data, question: the images, and what is asked.
        images: the image classifier.
        measured: the answers by name.
        truth: the right ones (V,) and (N,).
        spoken: what a speaker says beside the network, None for nothing.
    """
    served_name = "both_texts" if spoken else "text"
    with session.clock.stage("limits"):
        rows: dict[str, dict[str, np.ndarray]] = {}
        indices = {}
        for part in ("train", "validation", "test"):
            indices[part], features = sample_features(
                images.classifier,
                getattr(data, part),
                SAMPLED,
                session.config.image,
                session.trainer,
                name=f"limits: {part}",
            )
            rows[part] = {"features": features} | ({"names": spoken.rows[part]} if spoken else {})
        logits = HeldOut(images.logits.validation[indices["validation"]], images.logits.test[indices["test"]])
        known_inputs = fit_known_inputs(rows["train"], logits.validation, rows["validation"])
        # A few sentences make the answers of many images equal: the image classifier decides among these.
        class_logits, answers = from_classes(images.logits, question), measured[served_name].logits
        scores = HeldOut(
            set_scores(answers.validation, class_logits.validation),
            set_scores(answers.test, class_logits.test),
        )
        return measure_limits(
            known_inputs,
            known_inputs.unknown(logits.test, rows["test"]),
            scores,
            truth,
            question.names,
            {name: measured[name] for name in (served_name, "image_only", "fused")},
            max_error=session.config.trust.max_error,
            of_class=question.of_class,
        )

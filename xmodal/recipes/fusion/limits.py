"""What the answers to pairs promise."""

import numpy as np

from xmodal.data.pairs import PairData
from xmodal.evaluation.answer_sets import set_scores
from xmodal.evaluation.calibrated_result import calibrated_result
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.open_set import fit_known_inputs
from xmodal.recipes.fusion.classifiers import EncodedPairs, Fused, logits_of
from xmodal.recipes.fusion.tables import FusionResults
from xmodal.recipes.limits import MeasuredLimits, Part, measure_limits, sample_positions
from xmodal.tasks.pair_encoders import vectors


def pair_limits(
    pairs: EncodedPairs, models: dict[str, Fused], measured: FusionResults, data: PairData
) -> MeasuredLimits:
    """Fits and measures what is promised of the exported answers to pairs, by the modalities that they have.

    How strange a pair is, is measured by the logits, by the features of its image and its sound and by the
    text's vector; a side that is missing says nothing.

    Args:
        pairs: what the models read.
        models: by name.
        measured: what they answered, and which is exported.
        data: the pairs.
    """
    session = pairs.session
    labels = HeldOut(data.validation.labels, data.test.labels)

    def rows(part: str) -> dict[str, np.ndarray]:
        return vectors(pairs.encoders, pairs.encoded[part].take(sample_positions(len(pairs.encoded[part]))))

    with session.clock.stage("limits"):
        logits = {
            name: HeldOut(models[name].validation_logits, measured.logits[name])
            for name in (measured.best, *pairs.alone)
        }
        best_logits = logits[measured.best]
        known_inputs = fit_known_inputs(
            rows("train"),
            best_logits.validation[sample_positions(len(best_logits.validation))],
            rows("validation"),
        )
        return measure_limits(
            known_inputs,
            known_inputs.unknown(best_logits.test[sample_positions(len(best_logits.test))], rows("test")),
            HeldOut(set_scores(best_logits.validation), set_scores(best_logits.test)),
            labels,
            data.class_names,
            {name: calibrated_result(name, part, labels, data.class_names) for name, part in logits.items()},
            max_error=session.config.trust.max_error,
            parts={
                part: _part(pairs, models[measured.best], visible) for visible, part in pairs.visible.items()
            },
        )


def _part(pairs: EncodedPairs, fused: Fused, visible: str) -> Part:
    """Returns the pairs that have all of some modalities, shown with these alone."""
    scores, labels = {}, {}
    for name in ("validation", "test"):
        split = pairs.encoded[name]
        has_all = np.logical_and.reduce([split.present[modality] for modality in pairs.visible[visible]])
        logits = logits_of(pairs, fused.name, fused.model, name, visible, stage=f"{fused.name}, limits")
        scores[name] = set_scores(logits[has_all])
        labels[name] = split.labels[has_all]
    present = pairs.encoded["test"].present
    tested = np.logical_and.reduce(
        [mask == (modality in pairs.visible[visible]) for modality, mask in present.items()]
    )
    return Part(HeldOut(**scores), HeldOut(**labels), tested)

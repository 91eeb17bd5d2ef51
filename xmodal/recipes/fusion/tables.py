"""What is reported of `fusion`."""

from dataclasses import dataclass, replace

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.examples import SPLITS
from xmodal.data.modalities import WHOLE
from xmodal.data.pairs import PairData
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.models.fusion import ALONE, gate_model
from xmodal.recipes.fusion.classifiers import EncodedPairs, Fused, logits_of
from xmodal.recipes.fusion.missing_modalities import (
    Rights,
    least_without_a_modality,
    missing_comparisons,
    missing_curves,
    missing_table,
    trust_table,
    trusted_pairs,
)
from xmodal.recipes.fusion.protocols import Answers
from xmodal.recipes.transfer_worth import tried_by_name
from xmodal.runs.session import Session
from xmodal.training.baselines import FROM_SCRATCH, NO_TRANSFER, RANDOM_FROZEN, Attempt, better_note

NOTES = {
    RANDOM_FROZEN: "{best} on encoders of random weights, with the same flags",
    FROM_SCRATCH: "{best} on encoders that were trained as a whole from random weights, each on its side",
}
GALLERY_EACH = 8


@dataclass(frozen=True)
class FusionResults:
    """What was measured.

    Attributes:
        results: name of a model -> its result with all that the test pairs have.
        probabilities: name of a model -> which modalities were visible to it -> probabilities (N, C).
        best: the fused model that was best on the validation pairs.
        logits: name of a model -> those of the test pairs (N, C), all that they have being visible.
        whole: what all modalities are called in these.
    """

    results: dict[str, Result]
    probabilities: dict[str, dict[str, np.ndarray]]
    best: str
    logits: dict[str, np.ndarray]
    whole: str

    @property
    def best_probabilities(self) -> np.ndarray:
        """Those of the best model with all that the test pairs have (N, C)."""
        return self.probabilities[self.best][self.whole]


@dataclass(frozen=True)
class Baselines:
    """What the best way to read both is compared with.

    Attributes:
        answers: on encoders without transfer, by the name of how they came about.
        tried: what was trained from scratch -> all attempts.
        best: which answers are best on the validation pairs: "no_transfer".
    """

    answers: dict[str, Answers]
    tried: dict[str, tuple[Attempt, ...]]
    best: str


def baseline_results(without: Baselines, measured: FusionResults, data: PairData) -> dict[str, Result]:
    """Returns the results without transfer, the better one of them as NO_TRANSFER too."""
    results = {
        way: evaluate(
            way,
            answer.probabilities,
            data.test.labels,
            data.class_names,
            uncalibrated=answer.uncalibrated,
            note=NOTES[way].format(best=measured.best),
            seconds=answer.seconds,
        )
        for way, answer in without.answers.items()
    }
    note = better_note(without.best, "pairs")
    return results | {NO_TRANSFER: replace(results[without.best], name=NO_TRANSFER, note=note)}


def transfer_comparison(
    config: Config, without: Baselines, measured: FusionResults, data: PairData
) -> Comparison:
    """Compares the best way to read both with itself on encoders without transfer."""
    right, other = (
        answers.argmax(axis=1) == data.test.labels
        for answers in (
            measured.best_probabilities,
            without.answers[without.best].probabilities,
        )
    )
    # Where the image weights are random ones, nothing of them was transferred.
    weights_text = "weights" if config.image.image_weights != "none" else "the text encoder's weights"
    what = f"transfer of {weights_text}, in the place of no_transfer ({without.best}),"
    return compare_paired(right, other, what=what, unit="pairs")


def build_report(
    session: Session,
    pairs: EncodedPairs,
    models: dict[str, Fused],
    measured: FusionResults,
    without: Baselines | None,
    data: PairData,
) -> report.Run:
    """Puts what was measured into tables, plots and sentences."""
    config, results = session.config, measured.results
    rights = {
        name: {visible: part.argmax(axis=1) == data.test.labels for visible, part in parts.items()}
        for name, parts in measured.probabilities.items()
    }
    fused = [name for name in models if name not in ALONE]
    unimodal = max(pairs.alone, key=lambda name: results[name].accuracy)
    histories = [model.history for model in models.values() if model.history]
    if without:
        results = results | baseline_results(without, measured, data)
        histories += [history for answer in without.answers.values() for history in answer.histories]
    return report.Run(
        **session.metadata(),
        title="Image and text together" if len(pairs.alone) == 2 else "Image, text and sound together",
        data=data.report,
        results=results,
        gains=(
            compare_paired(
                rights[measured.best][pairs.whole],
                rights[unimodal][pairs.whole],
                what=f"reading {pairs.whole} ({measured.best}), in the place of {unimodal},",
                unit="pairs",
            ),
            *([transfer_comparison(config, without, measured, data)] if without else []),
            *missing_comparisons(rights, measured.best),
        ),
        transfer=None,
        histories=(*pairs.encoders.histories, *histories),
        gallery=gallery(config, data, measured.best_probabilities),
        facts=facts_of(config, models, measured, rights, unimodal) | sound_facts(config, data),
        headline="fused",
        tables=(
            *(missing_table(rights, fused, count) for count in range(1, len(pairs.modalities))),
            *gate_tables(pairs, models, measured, data),
            *([tried_by_name(without.tried)] if without else []),
        ),
        plots=tuple(missing_curves(rights, fused, config.run.seed)),
    )


def facts_of(
    config: Config, models: dict[str, Fused], measured: FusionResults, rights: Rights, alone: str
) -> dict[str, float | int | str]:
    """Returns single figures of the run; `alone` is the best model of one side."""
    errors = {name: 1 - measured.results[name].accuracy for name in (alone, "fused")}
    alternative = "the other side's model" if measured.whole == WHOLE[2] else "the best model of what is left"
    readings = {
        "share of the digits that were misread": config.pairs.misread,
        "share of their letters that were mistyped": config.pairs.typing_slips,
        "seed of both": config.run.seed,
    }
    return {
        **(
            {f"errors of fused to those of {alone}": errors["fused"] / errors[alone]} if errors[alone] else {}
        ),
        f"points of {measured.best} above {alternative} without a modality, at least": (
            least_without_a_modality(rights, [measured.best])
        ),
        **{f"temperature of {name}": model.temperature for name, model in models.items()},
        **(readings if config.pairs.pairs == "mnist_5k" else {}),
    }


def sound_facts(config: Config, data: PairData) -> dict[str, float | int | str]:
    """Returns which sounds the pairs got by --sounds; nothing of pairs with sounds of their own, or none."""
    if config.scorer.sounds == "none":
        return {}
    counts = ", ".join(f"{len(getattr(data, name).pictures('sound')):,} {name}" for name in SPLITS)
    how = f"one of its class and split, drawn with seed {config.run.seed}"
    return {"sound of each pair": f"of {config.scorer.sounds}, {how}", "distinct sounds": counts}


def gate_tables(
    pairs: EncodedPairs, models: dict[str, Fused], measured: FusionResults, data: PairData
) -> tuple[report.Table, ...]:
    """Returns which modality the gate trusted, and examples; nothing without --fusion=gated."""
    if "fused_gated" not in models:
        return ()
    gate = gate_model(models["fused_gated"].model)
    columns = logits_of(pairs, "fused_gated", gate, "test", stage="gate").T
    weights = dict(zip(pairs.modalities, columns, strict=True))
    if len(weights) == 2:
        # The other weight is the rest of 1.
        weights.popitem()
    answers = {
        name: measured.probabilities[name][pairs.whole].argmax(axis=1)
        for name in (*pairs.alone, "fused_gated")
    }
    test = data.test
    right = {name: answers[f"{name}_only"] == test.labels for name in pairs.modalities}
    return (
        *(trust_table(weight, right, name) for name, weight in weights.items()),
        trusted_pairs(weights, test.labels, answers, test.texts, test.ids, data.class_names),
    )


def gallery(config: Config, data: PairData, probabilities: np.ndarray) -> tuple[report.GalleryItem, ...]:
    """Returns test pairs to look at, of those with an image."""
    indices = np.flatnonzero(data.test.has_image)
    images = data.test.images()
    return report.gallery_items(
        probabilities[indices],
        data.test.labels[indices],
        data.class_names,
        per_kind=GALLERY_EACH,
        seed=config.run.seed,
        png=images.encoded,
        id=lambda index: images.ids[index],
        sentence=lambda index: str(data.test.texts[indices[index]]),
        sound=lambda index: data.test.sound(indices[index]),
    )

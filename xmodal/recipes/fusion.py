"""Image and text together: four ways to read both, against each side alone, and what is left without one.

A VGG trunk and a BERT read each image and each text once; what they give is kept. On it the scorer s(x, c) is
trained for the image, for the text and for both, and every model is asked again with one side taken away. The
best way to read both is trained once more on encoders from random weights, to show what theirs are worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from xmodal import assets, export, report
from xmodal.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_FROZEN,
    Attempt,
    best_on_validation,
    better_note,
)
from xmodal.bridge import readable, softmax
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.pairs import PairData, configured_pairs
from xmodal.evaluate import Gain, Result, evaluate, gallery_indices, log_loss, paired_gain
from xmodal.export_check import Question, export_checked
from xmodal.features import feature_cache
from xmodal.fused_classifier import ALONE, SHOWN, Fused, Setting, calibrated, logits_of, train_all
from xmodal.fusion import gate_model
from xmodal.job import Job, begin, finish
from xmodal.missing_sides import (
    least_without_a_side,
    missing_curves,
    missing_gains,
    missing_table,
    trust_table,
    trusted_pairs,
)
from xmodal.pair_encoders import image_parts, require_both_sides
from xmodal.pair_protocols import (
    Answers,
    Bench,
    answers_of,
    by_flags,
    seconds_of,
    trained_from_scratch,
)
from xmodal.scored_classifier import class_texts
from xmodal.serving import of_length_one
from xmodal.strategy import workers
from xmodal.transfer_worth import tried_by_name

NOTES = {
    "image_only": "the scorer on the trunk's pooled features",
    "text_only": "the scorer on BERT's sentence vector",
    "fused_early": "the scorer on both, joined",
    "fused_late": "calibrated log probabilities of both sides, added up; nothing is trained",
    "fused_gated": "the scorer on both, each with a weight of its own in every pair",
    "fused_attention": "the scorer on regions that looked at tokens, and tokens that looked at regions",
    RANDOM_FROZEN: "{best} on encoders of random weights, with the same flags",
    FROM_SCRATCH: "{best} on encoders that were trained as a whole from random weights, each on its side",
}
GALLERY_EACH = 8
CHECKED_PAIRS = 32


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        results: name of a model -> its result with all that the test pairs have.
        probabilities: name of a model -> which sides were shown to it -> probabilities (N, C).
        best: the fused model that was best on the validation pairs.
    """

    results: dict[str, Result]
    probabilities: dict[str, dict[str, np.ndarray]]
    best: str


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


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    job = begin(config, clock)
    with clock.stage("data"):
        data = configured_pairs(config)
        require_both_sides(data)
        preset = assets.text_encoder_path(
            config.text.text_encoder, cache=cache_folder(), offline=config.run.offline
        )
    job.warn(data.report)
    bench = bench_of(job, data, preset)
    setting = by_flags(bench, image_weights=config.image.image_weights, text_weights="preset")
    models = train_all(setting, (*ALONE, *(f"fused_{kind}" for kind in config.fusion.fusion)), clock)
    with clock.stage("evaluation"):
        measured = measure(setting, models, data, clock.seconds)
    without = without_transfer(bench, measured.best, data) if config.train.baseline else None
    run = reported(job, setting, models, measured, without, data)

    return finish(job, run, lambda: export_best(setting, models[measured.best], measured, data))


def bench_of(job: Job, data: PairData, preset: str) -> Bench:
    """Encodes what the classes are called."""
    config, strategy = job.config, job.strategy
    with job.clock.stage("class names"):
        texts = class_texts(
            [readable(name) for name in data.class_names],
            np.arange(len(data.class_names)),
            data.class_names,
            preset,
            strategy=strategy,
            most_tokens=config.text.sequence_length,
        )
    return Bench(job, data, preset, texts, feature_cache(config, workers(strategy).is_chief, job.clock.say))


def without_transfer(bench: Bench, name: str, data: PairData) -> Baselines:
    """Trains a fused model by name on encoders of random weights, and on some that learned from scratch."""

    def random_frozen() -> Answers:
        prefix = f"{RANDOM_FROZEN}: "
        return answers_of(
            bench, by_flags(bench, image_weights="none", text_weights="none", prefix=prefix), name
        )

    # One after the other, so that the features of one alone are held.
    answers = {RANDOM_FROZEN: random_frozen()}
    setting, tried = trained_from_scratch(bench)
    answers[FROM_SCRATCH] = answers_of(bench, setting, name)
    best = best_on_validation(
        {way: given.validation_logits for way, given in answers.items()}, data.validation.labels
    )
    return Baselines(answers, tried, best)


def measure(
    setting: Setting, models: dict[str, Fused], data: PairData, seconds: dict[str, float]
) -> Measured:
    """Asks every model about the test pairs: all that they have, images alone and texts alone."""
    logits = {
        name: {
            shown: logits_of(setting, name, fused.model, "test", shown)
            for shown in (SHOWN if name not in ALONE else SHOWN[:1])
        }
        for name, fused in models.items()
    }
    probabilities = {
        name: {shown: calibrated(setting, models[name], part, "test", shown) for shown, part in parts.items()}
        for name, parts in logits.items()
    }
    results = {
        name: evaluate(
            name,
            probabilities[name]["both"],
            data.test.labels,
            data.class_names,
            uncalibrated=softmax(logits[name]["both"]),
            note=NOTES[name],
            seconds=seconds[name],
        )
        for name in models
    }
    best = best_of(setting, [fused for name, fused in models.items() if name not in ALONE])
    results["fused"] = replace(results[best], name="fused", note=f"{best}, the best on the validation pairs")
    return Measured(results, probabilities, best)


def best_of(setting: Setting, models: list[Fused]) -> str:
    """Returns the model whose probabilities are best on the validation pairs.

    Of a few pairs the log loss says more than how many of the answers are right.
    """
    labels = setting.encoded["validation"].labels
    return min(
        models,
        key=lambda fused: log_loss(calibrated(setting, fused, fused.validation_logits, "validation"), labels),
    ).name


def baseline_results(
    without: Baselines, measured: Measured, data: PairData, seconds: Mapping[str, float]
) -> dict[str, Result]:
    """Returns the results without transfer, the better one of them as NO_TRANSFER too."""
    results = {
        way: evaluate(
            way,
            given.probabilities,
            data.test.labels,
            data.class_names,
            uncalibrated=given.uncalibrated,
            note=NOTES[way].format(best=measured.best),
            seconds=seconds_of(f"{way}: ", seconds),
        )
        for way, given in without.answers.items()
    }
    note = better_note(without.best, "pairs")
    return results | {NO_TRANSFER: replace(results[without.best], name=NO_TRANSFER, note=note)}


def transfer_gain(config: Config, without: Baselines, measured: Measured, data: PairData) -> Gain:
    """Compares the best way to read both with itself on encoders without transfer."""
    right, other = (
        answers.argmax(axis=1) == data.test.labels
        for answers in (
            measured.probabilities[measured.best]["both"],
            without.answers[without.best].probabilities,
        )
    )
    # Where the image weights are random ones, nothing of them was transferred.
    moved = "weights" if config.image.image_weights != "none" else "the text encoder's weights"
    what = f"transfer of {moved}, in the place of no_transfer ({without.best}),"
    return paired_gain(right, other, what=what, unit="pairs")


def reported(
    job: Job,
    setting: Setting,
    models: dict[str, Fused],
    measured: Measured,
    without: Baselines | None,
    data: PairData,
) -> report.Run:
    """Puts what was measured into tables, plots and sentences."""
    config, results = job.config, measured.results
    rights = {
        name: {shown: part.argmax(axis=1) == data.test.labels for shown, part in parts.items()}
        for name, parts in measured.probabilities.items()
    }
    fused = [name for name in models if name not in ALONE]
    alone = max(ALONE, key=lambda name: results[name].accuracy)
    errors = {name: 1 - results[name].accuracy for name in (alone, "fused")}
    trained = [model.history for model in models.values() if model.history]
    if without:
        results = results | baseline_results(without, measured, data, job.clock.seconds)
        trained += [history for given in without.answers.values() for history in given.histories]
    readings = {
        "share of the digits that were misread": config.pairs.misread,
        "share of their letters that were mistyped": config.pairs.typing_slips,
        "seed of both": config.run.seed,
    }
    return report.Run(
        **job.told(),
        title="Image and text together",
        data=data.report,
        results=results,
        gains=(
            paired_gain(
                rights[measured.best]["both"],
                rights[alone]["both"],
                what=f"reading both ({measured.best}), in the place of {alone},",
                unit="pairs",
            ),
            *([transfer_gain(config, without, measured, data)] if without else []),
            *missing_gains(rights, measured.best),
        ),
        transfer=None,
        histories=(*setting.encoders.histories, *trained),
        gallery=gallery(config, data, measured.probabilities[measured.best]["both"]),
        facts={
            **(
                {f"errors of fused to those of {alone}": errors["fused"] / errors[alone]}
                if errors[alone]
                else {}
            ),
            f"points of {measured.best} above the other side's model without a side, at least": (
                least_without_a_side(rights, [measured.best])
            ),
            **{f"temperature of {name}": model.temperature for name, model in models.items()},
            **(readings if config.pairs.pairs == "mnist_5k" else {}),
        },
        headline="fused",
        tables=(
            missing_table(rights, fused),
            *gate_tables(setting, models, measured, data),
            *([tried_by_name(without.tried)] if without else []),
        ),
        plots=tuple(missing_curves(rights, fused, config.run.seed)),
    )


def gate_tables(
    setting: Setting, models: dict[str, Fused], measured: Measured, data: PairData
) -> tuple[report.Table, ...]:
    """Returns which side the gate trusted, and examples; nothing without --fusion=gated."""
    if "fused_gated" not in models:
        return ()
    gate = gate_model(models["fused_gated"].model)
    weights = logits_of(setting, "fused_gated", gate, "test", stage="gate")[:, 0]
    answers = {name: measured.probabilities[name]["both"].argmax(axis=1) for name in (*ALONE, "fused_gated")}
    right = [answers[name] == data.test.labels for name in ALONE]
    test = data.test
    return (
        trust_table(weights, *right),
        trusted_pairs(weights, test.labels, answers, test.texts, test.ids, data.class_names),
    )


def gallery(config: Config, data: PairData, probabilities: np.ndarray) -> tuple[report.GalleryItem, ...]:
    """Returns test pairs to look at, of those with an image."""
    pictured = np.flatnonzero(data.test.has_image)
    images = data.test.images()
    labels = data.test.labels[pictured]
    picked = gallery_indices(probabilities[pictured], labels, GALLERY_EACH, config.run.seed)
    return tuple(
        report.GalleryItem(
            png=images.encoded(index),
            id=images.ids[index],
            truth=data.class_names[labels[index]],
            predicted=data.class_names[probabilities[pictured[index]].argmax()],
            probability=float(probabilities[pictured[index]].max()),
            sentence=str(data.test.texts[pictured[index]]),
            kind=kind,
        )
        for kind, indices in picked.items()
        for index in indices
    )


def export_best(
    setting: Setting, fused: Fused, measured: Measured, data: PairData
) -> dict[str, float | int | str]:
    """Exports the best model, and compares each of its signatures in a fresh process."""
    config = setting.config
    served = export.ServedPairs(
        encoders=setting.encoders,
        image_size=config.data.image_size,
        model=fused.model,
        temperature=fused.temperature,
        names=data.class_names,
    )
    folder = config.run.saved_models_dir / config.run.experiment
    whole = np.flatnonzero(data.test.has_image & data.test.has_text)[:CHECKED_PAIRS]
    row = np.cumsum(data.test.has_image) - 1
    images = data.test.images()
    image_bytes = {"image_bytes": [images.encoded(row[place]) for place in whole]}
    text = {"text": [str(data.test.texts[place]).encode("utf-8", "replace") for place in whole]}
    probabilities = {shown: part[whole] for shown, part in measured.probabilities[fused.name].items()}
    encoded = setting.encoded["test"]
    seen = image_parts(tf.gather(encoded.views[0], encoded.image_row[whole]), setting.encoders.map_shape)
    said = tf.gather(encoded.texts, encoded.text_row[whole])[:, 0]
    return export_checked(
        served,
        folder,
        [
            Question(image_bytes | text, probabilities["both"]),
            Question(image_bytes, probabilities["image"], "image"),
            Question(text, probabilities["text"], "text"),
            Question(image_bytes, of_length_one(seen["image"]).numpy(), "embed_image", "embedding"),
            Question(text, of_length_one(said).numpy(), "embed_text", "embedding"),
        ],
        setting.checkpoints.stage("export"),
    )

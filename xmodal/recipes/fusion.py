"""Image and text together: four ways to read both, against each side alone, and what is left without one.

A VGG trunk and a BERT read each image and each text once; what they give is kept. On it the scorer s(x, c) is
trained for the image, for the text and for both, and every model is asked again with one side taken away.
"""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from xmodal import assets, export, report
from xmodal.bridge import readable, softmax
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.pairs import PairData, configured_pairs
from xmodal.evaluate import Result, evaluate, gallery_indices, log_loss, paired_gain
from xmodal.export_check import Question, export_checked
from xmodal.features import feature_cache
from xmodal.fused_classifier import (
    SHOWN,
    Fused,
    Setting,
    calibrated,
    logits_of,
    sum_late,
    train_fused,
)
from xmodal.fusion import FusionSettings, gate_model
from xmodal.job import Job, begin, finish
from xmodal.missing_sides import (
    least_without_a_side,
    missing_curves,
    missing_gains,
    missing_table,
    trust_table,
    trusted_pairs,
)
from xmodal.pair_encoders import encode, image_parts, make_encoders, require_both_sides, samples
from xmodal.scored_classifier import class_texts
from xmodal.serving import of_length_one
from xmodal.strategy import workers

NOTES = {
    "image_only": "the scorer on the trunk's pooled features",
    "text_only": "the scorer on BERT's sentence vector",
    "fused_early": "the scorer on both, joined",
    "fused_late": "calibrated log probabilities of both sides, added up; nothing is trained",
    "fused_gated": "the scorer on both, each with a weight of its own in every pair",
    "fused_attention": "the scorer on regions that looked at tokens, and tokens that looked at regions",
}
ALONE = ("image_only", "text_only")
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
    setting = prepare(job, data, preset)
    models: dict[str, Fused] = {}
    for name in (*ALONE, *(f"fused_{kind}" for kind in config.fusion.fusion)):
        with clock.stage(name):
            if name == "fused_late":
                models[name] = sum_late(setting, *(models[side] for side in ALONE))
            else:
                models[name] = train_fused(setting, name)
    with clock.stage("evaluation"):
        measured = measure(setting, models, data, clock.seconds)
        run = reported(job, setting, models, measured, data)

    return finish(job, run, lambda: export_best(setting, models[measured.best], measured, data))


def prepare(job: Job, data: PairData, preset: str) -> Setting:
    """Makes the encoders, trains them where that is asked for, and reads all pairs with them."""
    config, clock, strategy = job.config, job.clock, job.strategy
    cache = feature_cache(config, workers(strategy).is_chief, clock.say)
    options = {"strategy": strategy, "checkpoints": job.checkpoints, "cache": cache}
    with clock.stage("encoders"):
        encoders = make_encoders(config, data, preset, **options)
    with clock.stage("reading"):
        encoded = encode(config, encoders, data, **options)
        texts = class_texts(
            [readable(name) for name in data.class_names],
            np.arange(len(data.class_names)),
            data.class_names,
            preset,
            strategy=strategy,
            most_tokens=config.text.sequence_length,
        )
    models = FusionSettings(
        samples=samples(encoders, encoded["train"]),
        texts=texts,
        units=config.fusion.fusion_units,
        dropout=config.image.dropout,
        scale=config.text.similarity_scale,
    )
    return Setting(config, strategy, job.checkpoints, encoders, encoded, models)


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


def reported(
    job: Job, setting: Setting, models: dict[str, Fused], measured: Measured, data: PairData
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
        tables=(missing_table(rights, fused), *gate_tables(setting, models, measured, data)),
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

"""Image and text together: four ways to read both, against each side alone, and what is left without one.

A VGG trunk and a BERT read each image and each text once; what they give is kept. On it the scorer s(x, c) is
trained for the image, for the text and for both, and every model is asked again with one side taken away. The
best way to read both is trained once more on encoders from random weights, to show what theirs are worth.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.assets.presets import text_encoder_path
from xmodal.bridge.class_names import readable
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import cache_folder
from xmodal.data.pairs import PairData
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import evaluate, log_loss
from xmodal.models.fusion import ALONE, FUSIONS, note_of
from xmodal.recipes.fusion.classifiers import SHOWN, Fused, Setting, calibrated, logits_of, train_all
from xmodal.recipes.fusion.encoders import require_both_sides
from xmodal.recipes.fusion.exports import export_best
from xmodal.recipes.fusion.protocols import Answers, Bench, answers_of, by_flags, trained_from_scratch
from xmodal.recipes.fusion.tables import Baselines, Measured, reported
from xmodal.runs.inputs import configured_pairs, feature_cache
from xmodal.runs.session import Job, begin, finish
from xmodal.tasks.similarity_classifier import class_texts
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, best_on_validation
from xmodal.training.strategy import workers


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_fusions(config.fusion.fusion)
    job = begin(config, clock)
    with clock.stage("data"):
        data = configured_pairs(config)
        require_both_sides(data)
        preset = text_encoder_path(config.text.text_encoder, cache=cache_folder(), offline=config.run.offline)
    job.check_data(data.report)
    bench = bench_of(job, data, preset)
    setting = by_flags(bench, image_weights=config.image.image_weights, text_weights="preset")
    models = train_all(setting, (*ALONE, *(f"fused_{kind}" for kind in config.fusion.fusion)), clock)
    with clock.stage("evaluation"):
        measured = measure(setting, models, data, clock.seconds)
    without = without_transfer(bench, measured.best, data) if config.train.baseline else None
    run = reported(job, setting, models, measured, without, data)

    return finish(job, run, lambda: export_best(setting, models[measured.best], measured, data))


def require_fusions(names: Sequence[str]) -> None:
    """Refuses a name of no way to read both, with a `UserError`."""
    for name in names:
        if name not in FUSIONS:
            raise UserError(f"`fusion={name}` is not known", nearest(name, FUSIONS))


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
            note=note_of(name),
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

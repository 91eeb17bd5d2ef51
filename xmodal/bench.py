"""Measures what the design promises about cost: `python -m xmodal.bench --dataset=folder:PATH --record=FILE`.

Pairs run in turn in one process on the same inputs, and medians are compared.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from xmodal import config, report, train, versions
from xmodal.clock import Clock
from xmodal.errors import UserError
from xmodal.files import write_json

REPEATS = 3


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark; flags are those of a run. Returns the exit code, 2 for what the user can mend."""
    try:
        versions.check()
        config.parse(argv)
        settings = config.from_flags()
        clock = Clock()
        figures = text_stage(settings, clock)
        for name, value in figures.items():
            print(f"{name}: {value}")
        if settings.run.record:
            machine = {
                "hardware": report.hardware(),
                "versions": report.versions(),
                "commit": report.commit(),
            }
            flags = settings.flagfile.splitlines()
            wall = {"seconds": clock.seconds, "wall_seconds": clock.wall_seconds()}
            write_json(
                settings.run.record, {"bench": "text_stage", **figures, **machine, "flags": flags, **wall}
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def text_stage(settings: config.Config, clock: Clock) -> dict[str, float | int]:
    """Times BERT on the sentences of a data set's training and validation images, each distinct one once.

    It is compared with one BERT pass an image, the same classifier on the same tokens in batches of 64.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the preparation.

    Returns:
        Counts, median seconds of both ways, the ratio's median, least and most, and the largest
        difference of a logit.
    """
    sentences, classifier, strategy = _prepare(settings, clock)

    def each_once() -> np.ndarray:
        return classifier.logits(sentences, strategy)

    def each_image() -> np.ndarray:
        tokens = train.array_batches(classifier.encoder.padded(sentences), batch_size=64)
        return train.predict(classifier.model, tokens, strategy)

    with clock.stage("comparison"):
        once, image = zip(*((_timed(each_once), _timed(each_image)) for _ in range(REPEATS)), strict=True)
    ratios = [slow / fast for (fast, _), (slow, _) in zip(once, image, strict=True)]
    return {
        "repeats": REPEATS,
        "sentences": len(sentences),
        "distinct_sentences": len(np.unique(sentences)),
        "seconds_each_distinct_once": statistics.median(seconds for seconds, _ in once),
        "seconds_each_image": statistics.median(seconds for seconds, _ in image),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "largest_difference": float(np.abs(once[0][1] - image[0][1]).max()),
        "answers_that_differ": int((once[0][1].argmax(axis=1) != image[0][1].argmax(axis=1)).sum()),
    }


def _prepare(settings: config.Config, clock: Clock):
    # TensorFlow is imported after the flags were found to be good.
    from xmodal import assets
    from xmodal.bridge import Bridge, fit_temperature
    from xmodal.data.images import configured_images
    from xmodal.recipes import vgg_to_bert as recipe
    from xmodal.strategy import make_strategy

    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    with clock.stage("data"):
        data = configured_images(settings)
        preset = assets.text_encoder_path(
            settings.text.text_encoder, cache=config.cache_folder(), offline=settings.run.offline
        )
    with clock.stage("image classifier"):
        trunk, _ = recipe.transferred_trunk(settings, data, strategy)
        images, logits = recipe.train_images(settings, data, trunk, "head", strategy, "images")
    with clock.stage("sentences"):
        temperature = fit_temperature(logits.validation, data.validation.labels)
        bridge = Bridge(data.class_names, settings.text.text_style, settings.text.template[:1])
        known = np.concatenate([images.train_logits()[: len(data.train)], logits.validation])
        sentences = recipe.sentences_of(bridge, known, temperature)[:, 0]
    with clock.stage("text classifier"):
        question = recipe.question_of(settings, data)
        classifier = recipe.zero_shot_of(settings, question, preset, strategy)
    return sentences, classifier, strategy


def _timed(function: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""How well an export tells inputs of another kind from its own.

python -m xmodal.bench --bench=open_set --flagfile=experiments/cifar10.cfg --model=saved_models/cifar10/1 \
    --outside=folder:data/mnist --outside=noise
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.config.data import SplitConfig
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.image_sources import is_unlabelled
from xmodal.data.images import load_images, load_unlabelled
from xmodal.evaluation.open_set import auroc
from xmodal.export.predictor import Predictor
from xmodal.report.records import Table
from xmodal.runs.inputs import load_configured_media

NOISE = "noise"
# Inputs of each source that are asked about at most, evenly from its first to its last.
MOST = 2000


def measure(settings: Config, clock: Clock) -> dict[str, Any]:
    """Asks an export about test inputs of its own kind, and about those of other sources.

    Args:
        settings: the data as for the run that made the export, which model, and the other sources: images as
            `load_images` or `load_unlabelled` take them, of which the test split is asked about, or "noise",
            whose pixels are drawn evenly from black to white.
        clock: times the parts.

    Returns:
        "model"; "known", how many inputs of its own kind were asked about, the share of them that was
        answered rightly and that was called none of these; and "outside": source -> how many "inputs" it
        gave, "auroc", how often one of them is stranger than a known one, and the share "called_unknown".

    Raises:
        UserError: for an export that does not tell how strange an input is.
    """
    if settings.bench.model is None:
        raise UserError("`--bench=open_set` needs an export", "give its folder as `model`")
    with clock.stage("data"):
        own_data = load_configured_media(settings)
        known_inputs = own_data.test.take(own_data.test.spread(MOST))
        outside_contents = {source: _contents(source, settings) for source in settings.bench.outside}
    predictor = Predictor(settings.bench.model)
    with clock.stage("known inputs"):
        answers = [*predictor([known_inputs.encoded(index) for index in range(len(known_inputs))])]
        if answers[0].unknown is None:
            raise UserError(
                f"the export {str(settings.bench.model)!r} does not tell how strange an input is",
                "give one of vgg_to_bert with a validation split",
            )
        names = [own_data.class_names[label] for label in known_inputs.labels]
        right = [answer.label == name for answer, name in zip(answers, names, strict=True)]
        ranks = np.array([answer.unknown for answer in answers])
    figures: dict[str, Any] = {
        "model": str(settings.bench.model),
        "max_error": settings.trust.max_error,
        "known": {
            "inputs": len(known_inputs),
            "right": float(np.mean(right)),
            "called_unknown": _called_unknown(ranks, settings),
        },
        "outside": {},
    }
    for source, contents in outside_contents.items():
        with clock.stage(source):
            answers = [answer for answer in predictor(contents) if not answer.problem]
            outside_ranks = np.array([answer.unknown for answer in answers])
        figures["outside"][source] = {
            "inputs": len(outside_ranks),
            "auroc": auroc(ranks, outside_ranks),
            "called_unknown": _called_unknown(outside_ranks, settings),
        }
    return figures


def _called_unknown(ranks: np.ndarray, settings: Config) -> float:
    return float((ranks > 1 - settings.trust.max_error).mean())


def _contents(source: str, settings: Config) -> Sequence[bytes]:
    """Returns the encoded images of a source."""
    if source == NOISE:
        rng, side = np.random.default_rng(settings.run.seed), settings.data.image_size
        pixels = rng.integers(0, 256, (MOST // 2, side, side, 3), np.uint8)
        return [tf.io.encode_png(image).numpy() for image in pixels]
    cache, offline = cache_folder(), settings.run.offline
    if is_unlabelled(source):
        split, _ = load_unlabelled(source, cache=cache, offline=offline)
    else:
        split = load_images(source, SplitConfig(min_per_class=0), cache=cache, offline=offline).test
    return [split.encoded(index) for index in split.spread(MOST)]


def tables(figures: dict[str, Any]) -> list[Table]:
    """Returns what was measured, for the console."""
    known_row = figures["known"]
    caption = (
        f"How often an input of another kind is stranger than one of {known_row['inputs']:,} known ones; "
        f"of these {known_row['right']:.1%} are answered rightly, "
        f"{known_row['called_unknown']:.1%} called none of these"
    )
    rows = tuple(
        (source, f"{row['inputs']:,}", f"{row['auroc']:.1%}", f"{row['called_unknown']:.1%}")
        for source, row in figures["outside"].items()
    )
    return [Table(caption, ("source", "inputs", "AUROC", "called none of these"), rows)]

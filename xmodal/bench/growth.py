"""How time and memory of vgg_to_bert grow, stage by stage: with the images, and with the classes.

    python -m xmodal.bench.growth FLAGFILE FOLDER CLASSES     # or IMAGES in the place of the folder

measures one size in a process of its own, and prints a JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.bench.first_step import peak_megabytes
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.config.data import SplitConfig
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches
from xmodal.data.images import load_images
from xmodal.data.target_map import identity_map
from xmodal.models.heads import image_head
from xmodal.recipes.vgg_to_bert.questions import sentences_of, zero_shot_model
from xmodal.report import markup
from xmodal.report.figures import lines
from xmodal.report.records import Plot, Series, Table
from xmodal.runs.inputs import build_backbone
from xmodal.tasks.image_classifier import backbone_features
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.losses import cross_entropy
from xmodal.training.strategy import make_strategy
from xmodal.training.trainer import Trainer

IMAGES = (1_000, 10_000, 50_000)
CLASSES = (10, 100, 1_000)
# With how many images the classes grow, and with how many classes the images.
IMAGES_OF_CLASSES, CLASSES_OF_IMAGES = 10_000, 10
# That many are not read: their logits are drawn, block by block, and put into words.
SIMULATED, BLOCK = 10_000_000, 100_000
SIDE = 32
RESET = Path("/proc/self/clear_refs")
STAGES = ("listing and audit", "features of the frozen trunk", "an epoch of the head", "bridge", "text")

Size = dict[str, dict[str, float]]


def measure(settings: Config, clock: Clock) -> dict[str, object]:
    """Measures every size in a process of its own.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the sizes.

    Returns:
        "images" and "classes": for each number of them, by stage, "seconds" and "megabytes", the most memory
        that the process had meanwhile; and "sentences", how many distinct ones BERT read. "simulated": the
        number of images that was drawn and not read.

    Raises:
        UserError: where the peak of a process' memory cannot be told and reset: on other systems than Linux.
    """
    if not os.access(RESET, os.W_OK):
        raise UserError("`bench=growth` measures the peak memory of stages by Linux", "run it there")
    figures: dict[str, dict[str, Size]] = {"images": {}, "classes": {}}
    with tempfile.TemporaryDirectory() as folder:
        flags = Path(folder) / "config.cfg"
        flags.write_text(settings.flagfile)

        def measure_size(images: int, classes: int) -> Size:
            with clock.stage(f"{images:,} images of {classes:,} classes"):
                source = str(images)
                if images < SIMULATED:
                    source = str(Path(folder) / f"{images}_{classes}")
                    write_noise(Path(source), images, classes)
                return _child(str(flags), source, str(classes))

        for images in (*IMAGES, SIMULATED):
            figures["images"][str(images)] = measure_size(images, CLASSES_OF_IMAGES)
        for classes in CLASSES:
            figures["classes"][str(classes)] = measure_size(IMAGES_OF_CLASSES, classes)
    return {**figures, "simulated": SIMULATED, "images_of_classes": IMAGES_OF_CLASSES}


def write_noise(folder: Path, images: int, classes: int) -> None:
    """Writes so many JPEGs of noise, no two alike, into a folder for each class."""
    rng = np.random.default_rng(0)
    for number in range(images):
        path = folder / f"class {number % classes:04d}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        path.write_bytes(tf.io.encode_jpeg(pixels).numpy())


def draw_logits(count: int, classes: int, seed: int) -> np.ndarray:
    """Draws logits (count, C) of a classifier that takes each class for one of three others now and then."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 0.5, (count, classes)).astype(np.float32)
    labels = rng.integers(0, classes, count)
    rows = np.arange(count)
    logits[rows, labels] += 9
    logits[rows, (labels + rng.integers(1, 4, count)) % classes] += rng.uniform(0, 10, count)
    return logits


def tables(figures: dict) -> list[Table]:
    """Returns what was measured, for the console."""
    return [
        Table(
            f"Seconds and peak memory by {axis}",
            (axis, *STAGES, "distinct sentences"),
            tuple(
                (
                    f"{int(count):,}",
                    *(
                        f"{size[stage]['seconds']:.1f} s, {size[stage]['megabytes']:,.0f} MB"
                        if stage in size
                        else ""
                        for stage in STAGES
                    ),
                    f"{size['text']['sentences']:,}",
                )
                for count, size in figures[axis].items()
            ),
        )
        for axis in ("images", "classes")
    ]


def page(figures: dict) -> str:
    """Returns a page with plots of a record: no network, no scripts."""
    plots = "".join(f"<figure>{lines(plot)}</figure>" for plot in plots_of(figures))
    body = [
        "<header>\n<h1>How cost grows</h1>\n</header>\n<main>",
        markup.section("growth", "By stage of vgg_to_bert", f'<div class="plots">{plots}</div>'),
        markup.paragraph(
            f"Each size in a process of its own. Of {figures['simulated']:,} images the logits were drawn, "
            "block by block, and put into words.",
            "quiet",
        ),
        "</main>",
    ]
    return markup.document("How cost grows", "\n".join(body))


def plots_of(figures: dict) -> list[Plot]:
    """Returns plots of seconds and megabytes by images and by classes, a line a stage, and of sentences."""
    plots = []
    for axis in ("images", "classes"):
        sizes = {int(count): size for count, size in figures[axis].items()}
        for quantity in ("seconds", "megabytes"):
            series = tuple(
                _series(
                    stage, {count: size[stage][quantity] for count, size in sizes.items() if stage in size}
                )
                for stage in STAGES
            )
            plots.append(Plot(f"{quantity} by {axis}", axis, quantity, series, log_x=True, log_y=True))
        sentences = {count: size["text"]["sentences"] for count, size in sizes.items()}
        line = _series("distinct sentences", sentences)
        plots.append(Plot(f"what BERT reads by {axis}", axis, "sentences", (line,), log_x=True, log_y=True))
    return plots


def _series(name: str, points: dict[int, float]) -> Series:
    return Series(name, tuple(points), tuple(points.values()))


def _child(*arguments: str) -> Size:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", __name__, *arguments]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def main(flagfile: str, source: str, classes: int) -> None:
    """Measures one size, and prints it."""
    parse(["growth", f"--flagfile={flagfile}"])
    settings = from_flags()
    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    trainer = Trainer(settings.train, settings.run.seed, strategy)
    keras.config.set_dtype_policy(settings.train.precision)
    size: Size = {}
    simulated = source.isdecimal()
    count = int(source) if simulated else _measure_images(settings, Path(source), trainer, size)
    names = tuple(f"class {number}" for number in range(classes))
    _measure_words(settings, count, names, trainer, size)
    print(json.dumps(size))


def _measure_images(settings: Config, folder: Path, trainer: Trainer, size: Size) -> int:
    """Goes through the stages of the images, and returns how many there are to be told about."""
    with _stage(size, "listing and audit"):
        data = load_images(f"folder:{folder}", SplitConfig(min_per_class=1))
    trunk = build_backbone(settings, settings.image.target, "none", trainer)
    with tempfile.TemporaryDirectory() as store, _stage(size, "features of the frozen trunk"):
        cache = FeatureCache(Path(store), settings.run.feature_cache_gb)
        quiet_trainer = replace(trainer, cache=cache, log=lambda line: None)
        features = backbone_features(trunk, data.train, settings.image, quiet_trainer, name="")
    with _stage(size, "an epoch of the head"):
        with trainer.strategy.scope():
            head = image_head(features, len(data.class_names), hidden=0, dropout=0.0)
        trainer.fit(
            head,
            lambda epoch: array_batches(features, data.train.labels, batch_size=settings.train.batch_size),
            loss=cross_entropy(),
            learning_rate=settings.image.head_learning_rate,
            epochs=1,
        )
    return len(data.train) + len(data.validation) + len(data.test)


def _measure_words(
    settings: Config, count: int, names: tuple[str, ...], trainer: Trainer, size: Size
) -> None:
    """Goes through the stages of the words."""
    preset = text_encoder_path(settings.text.text_encoder, cache=cache_folder(), offline=settings.run.offline)
    bridge = Bridge(names, settings.text.text_style, settings.text.template[:1], settings.text.top_k)
    reader = zero_shot_model(settings, identity_map(names), preset, trainer)
    sentences: set[str] = set()
    with _stage(size, "bridge"):
        for start in range(0, count, BLOCK):
            logits = draw_logits(min(BLOCK, count - start), len(names), start)
            sentences.update(sentences_of(bridge, logits, 1.0).ravel())
    with _stage(size, "text"):
        reader.logits(np.array(sorted(sentences), object), trainer)
    size["text"]["sentences"] = len(sentences)


@contextmanager
def _stage(size: Size, name: str) -> Iterator[None]:
    """Keeps the seconds and the peak memory of a block."""
    # The peak is what the process has now.
    RESET.write_text("5")
    started = time.perf_counter()
    yield
    size[name] = {"seconds": time.perf_counter() - started, "megabytes": peak_megabytes()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

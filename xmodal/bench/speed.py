"""What xmodal does, against peers that do the same on the same machine: PyTorch, Keras, plain Keras code.

    python -m xmodal.bench.speed --rows=forward      # what `measure` starts for each row

Prints a JSON object: the rows, or the error.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.bench import limits, operations, paired_timing
from xmodal.bench.engine import against_keras, examples, fitted, rate
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches, untuned
from xmodal.kernels.activations import compiled_activations
from xmodal.kernels.convolutions import quickly
from xmodal.models.heads import logits, text_classifier
from xmodal.models.image_backbones import image_trunk, pooled_layers
from xmodal.models.text_encoder import text_encoder
from xmodal.models.trainable import set_trainable
from xmodal.report.records import Table
from xmodal.runs.inputs import configured_images
from xmodal.text.length_buckets import token_batches
from xmodal.training.replicas import mapped
from xmodal.training.strategy import make_strategy

PRECISIONS = ("float32", "mixed_bfloat16")
CLASSES = 10
# Batches of a round of training, and its epochs: in the first one TensorFlow traces and compiles.
BATCHES, EPOCHS = 4, 3
# A pass alone is over soon: with few batches, how long the first one takes to arrive would count.
FORWARD_BATCHES = 16
TOKENS = (16, 32, 128)
FINE_TUNED_TOKENS = 128
SENTENCES = 50_000
READ_IMAGES = 5_000

Row = dict[str, Any]


def measure(settings: Config, clock: Clock) -> dict[str, object]:
    """Compares the rows of --rows, those of each name and precision in a process of their own.

    What a process has computed before, in the memory and the threads of two frameworks, slows it down.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the parts.

    Returns:
        "busy", the share of the processors that others used before; "threads" of each side, and how those
        of PyTorch were told to wait, None for its default; "limits" of each precision, see `limits.limits`;
        and "rows", each with what, unit, peer, what `pairs.compared` gives (more is better), "others", the
        share that others used meanwhile, and what else there is to know: see `pairs.besides`.

    Raises:
        UserError: when PyTorch is needed and not there, or another asset.
    """
    busy = limits.busy()
    if warning := limits.warning(busy):
        clock.say(warning)
    with clock.stage("limits"):
        most = {dtype: limits.limits(dtype) for dtype in ("float32", "bfloat16")}
    rows: list[Row] = []
    for name in settings.bench.rows:
        for precision in PRECISIONS if name in IN_EACH_PRECISION else (settings.train.precision,):
            others = limits.others_since()
            with clock.stage(f"{name}, {precision}"):
                measured = _in_a_process(settings, name, precision)
            share = others()
            if warning := limits.warning(share):
                clock.say(warning)
            rows += [_beside_limit(row, most) | {"others": share} for row in measured]
    return {
        "busy": busy,
        "threads": limits.threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "repeats": paired_timing.REPEATS,
        "limits": most,
        "rows": rows,
    }


def _in_a_process(settings: Config, name: str, precision: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        flagfile = Path(folder) / "config.cfg"
        flagfile.write_text(settings.flagfile)
        told = json.loads(
            _child(
                "xmodal.bench.speed",
                f"--flagfile={flagfile}",
                f"--rows={name}",
                f"--precision={precision}",
                "--nosmall",  # else another precision than float32 is refused
                f"--peer_epochs={settings.bench.peer_epochs}",
            )
        )
    if "error" in told:
        raise UserError(*told["error"])
    return told["rows"]


def _beside_limit(row: Row, most: dict[str, dict[str, float]]) -> Row:
    if "gflops" not in row:
        return row
    largest = most[row["dtype"]]["convolution_gflops"]
    return row | {"share_of_limit": row["gflops"] / largest}


def tables(figures: dict[str, Any]) -> list[Table]:
    """Returns what was measured, for the console."""
    limit = tuple(
        (
            dtype,
            *(f"{rates[name]:,.0f}" for name in ("matrix_gflops", "convolution_gflops", "copy_gigabytes")),
        )
        for dtype, rates in figures["limits"].items()
    )
    rows = tuple(
        (
            row["what"],
            row["unit"],
            f"{row['first']:,.4g}",
            f"{row['second']:,.4g} ({row['peer']})",
            f"{row['ratio']:.3g} ({row['ratio_least']:.3g} to {row['ratio_most']:.3g})",
            paired_timing.besides(row),
        )
        for row in figures["rows"]
    )
    return [
        Table("The machine's limits", ("", "matrix GFLOP/s", "convolution GFLOP/s", "copied GB/s"), limit),
        Table(
            "Beside peers", ("what", "unit", "xmodal", "the other", "times as fast, least to most", ""), rows
        ),
    ]


def peers() -> ModuleType:
    """Returns what makes the same networks in PyTorch.

    Raises:
        UserError: when it or transformers is not installed.
    """
    try:
        from xmodal.bench import torch_peers
    except ImportError as error:
        raise UserError(
            f"--bench=speed compares with PyTorch and transformers ({error})",
            "pip install -c constraints.txt -e '.[bench]', or choose others of --rows",
        ) from error
    return torch_peers


def forward(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares features of a frozen trunk with PyTorch, and says what rate of operations that is."""
    precision = settings.train.precision
    images = _images(settings, FORWARD_BATCHES)
    with strategy.scope(), _computing(precision):
        trunk = image_trunk(
            settings.image.target, settings.data.image_size, settings.image.features, cache=Path()
        )
    run = mapped(lambda batch: (quickly(trunk, batch, training=False),), strategy)
    batches = tf.data.Dataset.from_tensor_slices(images)
    theirs = peers().forward(
        peers().vgg(trunk, pooled_layers(trunk)), [(batch,) for batch in images], precision
    )
    what = f"{settings.image.target} features, {precision}"
    count = images.shape[0] * images.shape[1]
    row = _row(what, "images a second", "PyTorch", lambda: run(batches)[0], theirs, count)
    reached = row["first"] * limits.convolution_flops(trunk) / 1e9
    return [row | {"gflops": reached, "dtype": precision.removeprefix("mixed_")}]


def train(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares training steps with PyTorch's and with Keras' `fit`: all layers, and the two upper blocks."""
    return [row for first in ("all", "block4") for row in _train(settings, strategy, first)]


def _train(settings: Config, strategy: tf.distribute.Strategy, first: str) -> list[Row]:
    images, precision = _images(settings, BATCHES), settings.train.precision
    labels = np.random.default_rng(1).integers(0, CLASSES, images.shape[:2]).astype(np.int32)
    model, trunk = _classifier(settings, strategy, first)
    module = peers().vgg(trunk, pooled_layers(trunk), model.get_layer("logits"))
    one = model(images[0], training=False).numpy()
    apart = _apart(one, peers().answers(module, (images[0],)))
    peers().freeze(module, "block" if first == "all" else first)
    step = peers().trainer(module, [(batch,) for batch in images], labels, peers().sgd(), precision)
    epoch = _held(images, labels)

    def ours() -> float:
        return rate(fitted(model, epoch, strategy, EPOCHS), labels.size)

    pair = paired_timing.compared(ours, lambda: _rate_of(step, labels.size))
    what = f"training step of {settings.image.target}, {first} of it, {precision}"
    row: Row = {"what": what, "unit": "images a second"}
    fit = against_keras(model, strategy, settings.image.batch_size)
    return [
        _explained(row | {"peer": "PyTorch"} | pair | {"largest_difference": apart}, ours),
        row | {"peer": "Keras fit"} | fit,
    ]


def bert(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares BERT with transformers: vectors of texts of several lengths, and a step of fine-tuning."""
    encoding = [_encoding(settings, strategy, length) for length in TOKENS]
    return [*encoding, _fine_tuning(settings, strategy)]


def _encoding(settings: Config, strategy: tf.distribute.Strategy, length: int) -> Row:
    preset, size, precision = _preset(settings), settings.text.text_batch_size, settings.train.precision
    # As many tokens for every length: a round that is over at once would tell how long one takes to begin.
    count = BATCHES * size * max(TOKENS) // length
    with strategy.scope(), _computing(precision):
        model = text_encoder(preset, length).model
    tokens = _tokens(count, length)
    batches = token_batches(tokens, batch_size=size, order=np.arange(count))
    run = mapped(lambda batch: (model(batch[0], training=False),), strategy)
    theirs = peers().forward(peers().bert(preset), _torch_tokens(tokens, size), precision)
    what = f"BERT on {length} tokens, {precision}"
    return _row(what, "texts a second", "transformers", lambda: run(batches)[0], theirs, count)


def _fine_tuning(settings: Config, strategy: tf.distribute.Strategy) -> Row:
    preset, size, precision = _preset(settings), settings.text.text_batch_size, settings.train.precision
    count = BATCHES * size
    with strategy.scope(), _computing(precision):
        model = text_classifier(text_encoder(preset, FINE_TUNED_TOKENS).model, CLASSES)
    tokens = _tokens(count, FINE_TUNED_TOKENS)
    labels = np.random.default_rng(1).integers(0, CLASSES, count).astype(np.int32)
    epoch = token_batches(tokens, labels, batch_size=size, order=np.arange(count))
    module = peers().bert(preset, model.get_layer("logits"))
    given = _torch_tokens(tokens, size)
    one = model({name: part[:size] for name, part in tokens.items()}, training=False).numpy()
    apart = _apart(one, peers().answers(module, given[0]))
    step = peers().trainer(module, given, labels.reshape(-1, size), peers().adamw(), precision)

    def ours() -> float:
        with compiled_activations(model):
            return rate(fitted(model, epoch, strategy, EPOCHS, "adamw"), count)

    pair = paired_timing.compared(ours, lambda: _rate_of(step, count))
    what = f"fine-tuning step of BERT on {FINE_TUNED_TOKENS} tokens, {precision}"
    row = {"what": what, "unit": "texts a second", "peer": "transformers"}
    return _explained(row | pair | {"largest_difference": apart}, ours)


def read_images(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares reading, decoding and augmenting images with what a training of all layers takes of them."""
    data = configured_images(settings)
    some = data.train.take(data.train.spread(READ_IMAGES))
    epoch = examples(some, settings.data.image_size)
    # In the precision that takes the most where a machine has it.
    half = replace(settings, train=replace(settings.train, precision="mixed_bfloat16"))
    model, _ = _classifier(half, strategy, "all")
    images = _images(settings, BATCHES)
    held = _held(images, np.zeros(images.shape[:2], np.int32))
    count = images.shape[0] * images.shape[1]
    pair = paired_timing.compared(
        lambda: _rate_of(lambda: [None for _ in epoch], len(some)),
        lambda: rate(fitted(model, held, strategy, EPOCHS), count),
    )
    what, peer = "reading, decoding and augmenting", "a training of all layers in mixed_bfloat16 takes"
    return [{"what": what, "unit": "images a second", "peer": peer, **pair}]


def put_in_words(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares the bridge in-graph with its Python form, and the tokenizer with that of transformers."""
    names = tuple(f"class {number}" for number in range(CLASSES))
    bridge = Bridge(names, settings.text.text_style, settings.text.template, settings.text.top_k)
    drawn = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.1), SENTENCES).astype(np.float32)
    in_graph = tf.function(bridge.sentences)
    pair = paired_timing.compared(
        lambda: _rate_of(lambda: in_graph(tf.constant(drawn)).numpy(), SENTENCES),
        lambda: _rate_of(lambda: [bridge.describe(row) for row in drawn], SENTENCES),
    )
    rows: list[Row] = [
        {"what": "bridge, in-graph", "unit": "sentences a second", "peer": "its form in Python", **pair}
    ]
    preset = _preset(settings)
    with strategy.scope():
        encoder = text_encoder(preset, settings.text.sequence_length)
    texts = [text.decode() for text in in_graph(tf.constant(drawn)).numpy()[:, 0]]
    pair = paired_timing.compared(
        lambda: _rate_of(lambda: encoder.padded(texts), SENTENCES),
        lambda: _rate_of(peers().tokenizer(preset, texts, settings.text.sequence_length), SENTENCES),
    )
    return [*rows, {"what": "tokenizer", "unit": "sentences a second", "peer": "transformers", **pair}]


def start(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares what passes until a new process has taken a training step, and its memory, with Keras."""
    told: dict[str, list[dict[str, Any]]] = {"xmodal": [], "keras": []}

    def seconds(way: str) -> float:
        told[way].append(json.loads(_child("xmodal.bench.first_step", way, str(settings.data.image_size))))
        return 1 / told[way][-1]["seconds"]

    pair = paired_timing.compared(lambda: seconds("xmodal"), lambda: seconds("keras"), warm_up=False)
    ours, theirs = (_medians(told[way]) for way in ("xmodal", "keras"))
    row = _seconds("from the start of a process to its first training step", "Keras fit", pair)
    return [
        row
        | {"megabytes": ours.pop("megabytes"), "megabytes_of_peer": theirs.pop("megabytes")}
        | {"parts": {part: (ours[part], theirs[part]) for part in ours}}
    ]


def _medians(told: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the medians of the parts and the memory of what several processes told."""
    flat = [one["parts"] | {"megabytes": one["megabytes"]} for one in told]
    return {name: float(np.median([one[name] for one in flat])) for name in flat[0]}


def whole_run(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares a whole run, once, with plain Keras that passes every image in every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        flags = Path(folder) / "config.cfg"
        flags.write_text(settings.flagfile)
        output = Path(folder) / "run"
        # The plain code trains no head on text alone: a sentence of each class is the least that ours takes.
        alike = ("--nobaseline", "--nosmall", "--noexport", "--feature_cache_gb=0", "--text_examples=1")
        more = (f"--output_dir={output}", f"--precision={settings.train.precision}", *alike)
        ours, _ = paired_timing.timed(lambda: _child("xmodal.run", f"--flagfile={flags}", *more))
        results = json.loads((output / "metrics.json").read_text())["results"]
        few = (f"--precision={settings.train.precision}", f"--peer_epochs={settings.bench.peer_epochs}")
        plain, printed = paired_timing.timed(
            lambda: _child("xmodal.bench.plain_flow", f"--flagfile={flags}", *few)
        )
    told = json.loads(printed)
    plain += told["seconds_reckoned"]
    ratio = plain / ours
    pair = {"first": 1 / ours, "second": 1 / plain, "ratio": ratio, "ratio_least": ratio, "ratio_most": ratio}
    what = f"whole run of vgg_to_bert, {settings.train.precision}"
    row = _seconds(what, "every image through the whole network in every epoch", pair)
    if reckoned := told["seconds_reckoned"]:
        # A network that was trained less is no equal.
        return [row | {"reckoned": reckoned / plain}]
    both = {name: (results[name]["accuracy"], told[name]) for name in ("image_only", "text")}
    return [row | {"accuracy": both}]


ROWS: dict[str, Callable[[Config, tf.distribute.Strategy], list[Row]]] = {
    "forward": forward,
    "train": train,
    "bert": bert,
    "input": read_images,
    "text": put_in_words,
    "start": start,
    "run": whole_run,
}
IN_EACH_PRECISION = ("forward", "train", "bert", "run")


def _row(what: str, unit: str, peer: str, ours: Callable, theirs: Callable, count: int) -> Row:
    """Compares two ways to the same outputs (N, D), and tells how far apart these are."""
    one, other = ours(), theirs()
    pair = paired_timing.compared(
        lambda: _rate_of(ours, count), lambda: _rate_of(theirs, count), warm_up=False
    )
    row = {"what": what, "unit": unit, "peer": peer, **pair, "largest_difference": _apart(one, other)}
    return _explained(row, ours)


def _explained(row: Row, ours: Callable) -> Row:
    """Adds to a row in which the other is the faster one what the time goes to, see `operations.shares`."""
    return row if row["ratio"] >= 1 else row | {"spent": operations.shares(ours)}


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest difference of two outputs, as a share of the largest of them."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def _seconds(what: str, peer: str, pair: dict[str, float]) -> Row:
    """Turns rates of something that takes long into seconds; the ratio says how many times as fast it is."""
    taken = {name: 1 / pair[name] for name in ("first", "second")}
    return {"what": what, "unit": "seconds", "peer": peer, **pair, **taken}


def _rate_of(function: Callable, count: int) -> float:
    return count / paired_timing.timed(function)[0]


def _child(module: str, *arguments: str) -> str:
    """Runs a module as a process, and returns the last line that it prints."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


@contextlib.contextmanager
def _computing(precision: str) -> Iterator[None]:
    """Builds models that compute in a precision, with the same initial weights each time."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _classifier(
    settings: Config, strategy: tf.distribute.Strategy, first: str
) -> tuple[keras.Model, keras.Model]:
    """Returns a classifier that learns from a layer on, and its trunk."""
    with strategy.scope(), _computing(settings.train.precision):
        trunk = image_trunk(
            settings.image.target, settings.data.image_size, settings.image.features, cache=Path()
        )
        set_trainable(trunk, first)
        return keras.Model(trunk.input, logits(CLASSES)(trunk.output)), trunk


def _held(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Returns an epoch of images (BATCHES, B, H, W, 3) with labels (BATCHES, B), held in memory."""
    flat = images.reshape(labels.size, *images.shape[2:])
    return untuned(array_batches(flat, labels.ravel(), batch_size=labels.shape[1]))


def _preset(settings: Config) -> str:
    name, cache = settings.text.text_encoder, cache_folder()
    return text_encoder_path(name, cache=cache, offline=settings.run.offline)


def _images(settings: Config, count: int) -> np.ndarray:
    """Returns batches of noise, (count, B, H, W, 3) from 0 to 255."""
    size = settings.data.image_size
    shape = (count, settings.image.batch_size, size, size, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _tokens(count: int, length: int) -> dict[str, np.ndarray]:
    """Returns texts of that many tokens, without padding, as an encoder of `backbones` reads them."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (count, length)).astype(np.int32)
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids, bool)}


def _torch_tokens(tokens: dict[str, np.ndarray], size: int) -> list[tuple]:
    ids, mask = tokens["token_ids"].astype(np.int64), tokens["padding_mask"].astype(np.int64)
    return [(ids[n : n + size], mask[n : n + size]) for n in range(0, len(ids), size)]


def main(argv: Sequence[str]) -> None:
    """Measures the rows of one name, in the precision of the flags."""
    parse(argv)
    told: dict[str, object]
    try:
        settings = from_flags()
        strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
        (name,) = settings.bench.rows
        told = {"rows": ROWS[name](settings, strategy)}
    except UserError as error:
        told = {"error": (error.problem, error.remedy)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv)

"""What xmodal does, against peers that do the same on the same machine: PyTorch, Keras, plain Keras code.

    python -m xmodal.bench.speed --rows=forward      # what `measure` starts for each row

Prints a JSON object: the rows, or the error.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.bench import limits, operations, paired_timing
from xmodal.bench.engine import against_keras, examples, fit_model, rate
from xmodal.bench.speed_models import (
    CLASSES,
    computing,
    encoder_preset,
    hold_epoch,
    image_classifier,
    noise_images,
    noise_tokens,
    torch_tokens,
)
from xmodal.bench.speed_processes import run_module, start, whole_run
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.data.sounds import spectrogram, spectrogram_shape
from xmodal.data.wav_files import wav_of
from xmodal.kernels.activations import compiled_activations
from xmodal.kernels.convolutions import call_fast
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone, pooled_layers
from xmodal.models.text_encoder import text_encoder
from xmodal.report.records import Table
from xmodal.runs.inputs import load_configured_images, sound_format
from xmodal.text.length_buckets import token_batches
from xmodal.training.replicas import map_over_replicas
from xmodal.training.strategy import make_strategy

PRECISIONS = ("float32", "mixed_bfloat16")
# Batches of a round of training, and its epochs: in the first one TensorFlow traces and compiles.
BATCHES, EPOCHS = 4, 3
# A pass alone is over soon: with few batches, how long the first one takes to arrive would count.
FORWARD_BATCHES = 16
TOKENS = (16, 32, 128)
FINE_TUNED_TOKENS = 128
SENTENCES = 50_000
READ_IMAGES = 5_000
READ_SOUNDS, SOUND_BATCH = 2_000, 64

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
        and "rows", each with what, unit, peer, what `compare_rates` gives (more is better), "others", the
        share that others used meanwhile, and what else there is to know: see `pairs.besides`.

    Raises:
        UserError: when PyTorch is needed and not there, or another asset.
    """
    busy = limits.busy()
    if warning := limits.warning(busy):
        clock.log(warning)
    with clock.stage("limits"):
        max_rates = {dtype: limits.limits(dtype) for dtype in ("float32", "bfloat16")}
    rows: list[Row] = []
    for name in settings.bench.rows:
        for precision in PRECISIONS if name in IN_EACH_PRECISION else (settings.train.precision,):
            read_share = limits.others_since()
            with clock.stage(f"{name}, {precision}"):
                new_rows = _in_a_process(settings, name, precision)
            share = read_share()
            if warning := limits.warning(share):
                clock.log(warning)
            rows += [_beside_limit(row, max_rates) | {"others": share} for row in new_rows]
    return {
        "busy": busy,
        "threads": limits.threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "repeats": paired_timing.REPEATS,
        "limits": max_rates,
        "rows": rows,
    }


def _in_a_process(settings: Config, name: str, precision: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        flagfile = Path(folder) / "config.cfg"
        flagfile.write_text(settings.flagfile)
        answer = json.loads(
            run_module(
                "xmodal.bench.speed",
                f"--flagfile={flagfile}",
                f"--rows={name}",
                f"--precision={precision}",
                "--nosmall",  # else another precision than float32 is refused
                f"--peer_epochs={settings.bench.peer_epochs}",
            )
        )
    if "error" in answer:
        raise UserError(*answer["error"])
    return answer["rows"]


def _beside_limit(row: Row, max_rates: dict[str, dict[str, float]]) -> Row:
    if "gflops" not in row:
        return row
    largest = max_rates[row["dtype"]]["convolution_gflops"]
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
            f"`bench=speed` compares with PyTorch and transformers ({error})",
            "pip install -c constraints.txt -e '.[bench]', or choose others of `rows`",
        ) from error
    return torch_peers


def forward(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares features of a frozen trunk with PyTorch, and says what rate of operations that is."""
    precision = settings.train.precision
    images = noise_images(settings, FORWARD_BATCHES)
    with strategy.scope(), computing(precision):
        trunk = image_backbone(
            settings.image.target, settings.data.image_size, settings.image.features, cache=Path()
        )
    run = map_over_replicas(lambda batch: (call_fast(trunk, batch, training=False),), strategy)
    batches = tf.data.Dataset.from_tensor_slices(images)
    theirs = peers().forward(
        peers().vgg(trunk, [*pooled_layers(trunk)]), [(batch,) for batch in images], precision
    )
    what = f"{settings.image.target} features, {precision}"
    count = images.shape[0] * images.shape[1]
    row = _row(what, "images a second", "PyTorch", lambda: run(batches)[0], theirs, count)
    gflops = row["first"] * limits.convolution_flops(trunk) / 1e9
    return [row | {"gflops": gflops, "dtype": precision.removeprefix("mixed_")}]


def train(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares training steps with PyTorch's and with Keras' `fit`: all layers, and the two upper blocks."""
    return [row for first in ("all", "block4") for row in _train(settings, strategy, first)]


def _train(settings: Config, strategy: tf.distribute.Strategy, first: str) -> list[Row]:
    images, precision = noise_images(settings, BATCHES), settings.train.precision
    labels = np.random.default_rng(1).integers(0, CLASSES, images.shape[:2]).astype(np.int32)
    model, trunk = image_classifier(settings, strategy, first)
    module = peers().vgg(trunk, [*pooled_layers(trunk)], model.get_layer("logits"))
    outputs = model(images[0], training=False).numpy()
    difference = _difference(outputs, peers().answers(module, (images[0],)))
    peers().freeze(module, "block" if first == "all" else first)
    step = peers().trainer(module, [(batch,) for batch in images], labels, peers().sgd(), precision)
    epoch = hold_epoch(images, labels)

    def ours() -> float:
        return rate(fit_model(model, epoch, strategy, EPOCHS), labels.size)

    pair = paired_timing.compare_rates(ours, lambda: _rate_of(step, labels.size))
    what = f"training step of {settings.image.target}, {first} of it, {precision}"
    row: Row = {"what": what, "unit": "images a second"}
    fit = against_keras(model, strategy, settings.train.batch_size)
    return [
        _explain(row | {"peer": "PyTorch"} | pair | {"largest_difference": difference}, ours),
        row | {"peer": "Keras fit"} | fit,
    ]


def bert(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares BERT with transformers: vectors of texts of several lengths, and a step of fine-tuning."""
    encoding = [_encoding(settings, strategy, length) for length in TOKENS]
    return [*encoding, _fine_tuning(settings, strategy)]


def _encoding(settings: Config, strategy: tf.distribute.Strategy, length: int) -> Row:
    preset, size, precision = (
        encoder_preset(settings),
        settings.text.text_batch_size,
        settings.train.precision,
    )
    # As many tokens for every length: a round that is over at once would tell how long one takes to begin.
    count = BATCHES * size * max(TOKENS) // length
    with strategy.scope(), computing(precision):
        model = text_encoder(preset, length).model
    tokens = noise_tokens(count, length)
    batches = token_batches(tokens, batch_size=size, order=np.arange(count))
    run = map_over_replicas(lambda batch: (model(batch[0], training=False),), strategy)
    theirs = peers().forward(peers().bert(preset), torch_tokens(tokens, size), precision)
    what = f"BERT on {length} tokens, {precision}"
    return _row(what, "texts a second", "transformers", lambda: run(batches)[0], theirs, count)


def _fine_tuning(settings: Config, strategy: tf.distribute.Strategy) -> Row:
    preset, size, precision = (
        encoder_preset(settings),
        settings.text.text_batch_size,
        settings.train.precision,
    )
    count = BATCHES * size
    with strategy.scope(), computing(precision):
        model = text_classifier(text_encoder(preset, FINE_TUNED_TOKENS).model, CLASSES)
    tokens = noise_tokens(count, FINE_TUNED_TOKENS)
    labels = np.random.default_rng(1).integers(0, CLASSES, count).astype(np.int32)
    epoch = token_batches(tokens, labels, batch_size=size, order=np.arange(count))
    module = peers().bert(preset, model.get_layer("logits"))
    batches = torch_tokens(tokens, size)
    outputs = model({name: part[:size] for name, part in tokens.items()}, training=False).numpy()
    difference = _difference(outputs, peers().answers(module, batches[0]))
    step = peers().trainer(module, batches, labels.reshape(-1, size), peers().adamw(), precision)

    def ours() -> float:
        with compiled_activations(model):
            return rate(fit_model(model, epoch, strategy, EPOCHS, "adamw"), count)

    pair = paired_timing.compare_rates(ours, lambda: _rate_of(step, count))
    what = f"fine-tuning step of BERT on {FINE_TUNED_TOKENS} tokens, {precision}"
    row = {"what": what, "unit": "texts a second", "peer": "transformers"}
    return _explain(row | pair | {"largest_difference": difference}, ours)


def read_images(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares reading, decoding and augmenting images with what a training of all layers takes of them."""
    data = load_configured_images(settings)
    split = data.train.take(data.train.spread(READ_IMAGES))
    epoch = examples(split, settings.data.image_size)
    # In the precision that takes the most where a machine has it.
    half_settings = replace(settings, train=replace(settings.train, precision="mixed_bfloat16"))
    model, _ = image_classifier(half_settings, strategy, "all")
    images = noise_images(settings, BATCHES)
    epoch_tensors = hold_epoch(images, np.zeros(images.shape[:2], np.int32))
    count = images.shape[0] * images.shape[1]
    pair = paired_timing.compare_rates(
        lambda: _rate_of(lambda: [None for _ in epoch], len(split)),
        lambda: rate(fit_model(model, epoch_tensors, strategy, EPOCHS), count),
    )
    what, peer = "reading, decoding and augmenting", "a training of all layers in mixed_bfloat16 takes"
    return [{"what": what, "unit": "images a second", "peer": peer, **pair}]


def read_sounds(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares reading WAV files as spectrograms, as training and exports do, with PyTorch's transforms.

    The sounds are noise of the length of a spectrogram, at its rate: PyTorch has nothing to cut or resample.
    """
    side, sound = settings.data.image_size, sound_format(settings)
    shape = spectrogram_shape(side, sound)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (READ_SOUNDS, shape.samples))
    files = [wav_of(samples, sound.rate) for samples in noise]
    convert = partial(spectrogram, side=side, config=sound)
    batches = tf.data.Dataset.from_tensor_slices(files).map(convert, tf.data.AUTOTUNE).batch(SOUND_BATCH)

    def ours() -> np.ndarray:
        return np.concatenate([batch.numpy() for batch in batches])[..., 0]

    theirs = peers().spectrograms(files, shape, SOUND_BATCH)
    return [_row("WAV files to spectrograms", "sounds a second", "PyTorch", ours, theirs, READ_SOUNDS)]


def put_in_words(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares the bridge in-graph with its Python form, and the tokenizer with that of transformers."""
    names = tuple(f"class {number}" for number in range(CLASSES))
    bridge = Bridge(names, settings.text.text_style, settings.text.template, settings.text.top_k)
    soft_labels = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.1), SENTENCES).astype(np.float32)
    in_graph = tf.function(bridge.sentences)
    pair = paired_timing.compare_rates(
        lambda: _rate_of(lambda: in_graph(tf.constant(soft_labels)).numpy(), SENTENCES),
        lambda: _rate_of(lambda: [bridge.describe(row) for row in soft_labels], SENTENCES),
    )
    rows: list[Row] = [
        {"what": "bridge, in-graph", "unit": "sentences a second", "peer": "its form in Python", **pair}
    ]
    preset = encoder_preset(settings)
    with strategy.scope():
        encoder = text_encoder(preset, settings.text.sequence_length)
    texts = [text.decode() for text in in_graph(tf.constant(soft_labels)).numpy()[:, 0]]
    pair = paired_timing.compare_rates(
        lambda: _rate_of(lambda: encoder.padded(texts), SENTENCES),
        lambda: _rate_of(peers().tokenizer(preset, texts, settings.text.sequence_length), SENTENCES),
    )
    return [*rows, {"what": "tokenizer", "unit": "sentences a second", "peer": "transformers", **pair}]


ROWS: dict[str, Callable[[Config, tf.distribute.Strategy], list[Row]]] = {
    "forward": forward,
    "train": train,
    "bert": bert,
    "input": read_images,
    "sound": read_sounds,
    "text": put_in_words,
    "start": start,
    "run": whole_run,
}
IN_EACH_PRECISION = ("forward", "train", "bert", "run")


def _row(what: str, unit: str, peer: str, ours: Callable, theirs: Callable, count: int) -> Row:
    """Compares two ways to the same outputs (N, D), and tells how far apart these are."""
    outputs, reference = ours(), theirs()
    pair = paired_timing.compare_rates(
        lambda: _rate_of(ours, count), lambda: _rate_of(theirs, count), warm_up=False
    )
    difference = _difference(outputs, reference)
    row = {"what": what, "unit": unit, "peer": peer, **pair, "largest_difference": difference}
    return _explain(row, ours)


def _explain(row: Row, ours: Callable) -> Row:
    """Adds to a row in which the other is the faster one what the time goes to, see `operations.shares`."""
    return row if row["ratio"] >= 1 else row | {"spent": operations.shares(ours)}


def _difference(outputs: np.ndarray, reference: np.ndarray) -> float:
    """Returns the largest difference of two outputs, as a share of the largest of them."""
    return float(np.abs(outputs - reference).max() / np.abs(reference).max())


def _rate_of(function: Callable, count: int) -> float:
    return count / paired_timing.time_call(function)[0]


def main(argv: Sequence[str]) -> None:
    """Measures the rows of one name, in the precision of the flags."""
    parse(argv)
    answer: dict[str, object]
    try:
        settings = from_flags()
        strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
        (name,) = settings.bench.rows
        answer = {"rows": ROWS[name](settings, strategy)}
    except UserError as error:
        answer = {"error": (error.problem, error.remedy)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv)

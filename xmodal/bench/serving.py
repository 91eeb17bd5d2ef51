"""An export as it is served, against the same parts called one by one in Python, by Keras' `predict`."""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.bench import paired_timing
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.decoding import decode
from xmodal.evaluation.calibration import softmax
from xmodal.export.saved_model import export_saved_model
from xmodal.export.served_images import ServedImages
from xmodal.recipes.image_training import transfer_backbone
from xmodal.recipes.vgg_to_bert.questions import question_of, zero_shot_model
from xmodal.runs.inputs import load_configured_images
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.strategy import make_strategy
from xmodal.training.trainer import Trainer

# Requests of one example in a round, and examples in a batch. There are `pairs.REPEATS` rounds of both.
REQUESTS = 50
BATCH = 64
BATCHES = 4

# A request of several encoded images or texts -> probabilities (B, T).
Way = Callable[[Sequence[bytes]], np.ndarray]


def measure(settings: Config, clock: Clock) -> dict[str, object]:
    """Times the signatures of an export for images and texts, each against Keras' `predict`.

    The networks are those of vgg_to_bert, with the head of the image classifier as it starts: what is
    computed does not depend on its weights.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the parts.

    Returns:
        By the name of the signature: "one", milliseconds of a request of one example, see `latencies`;
        "batch", examples a second in batches of `BATCH`, as `compare_rates` gives it; and the largest
        difference of a probability.
    """
    with clock.stage("preparation"):
        parts, names, inputs = _prepare(settings)
    with tempfile.TemporaryDirectory() as folder, clock.stage("export"):
        model = tf.saved_model.load(str(export_saved_model(parts.served(names), Path(folder) / "model")))
    ways = {"serving_default": parts.answer_images, "text": parts.answer_texts}
    figures: dict[str, object] = {
        "image_size": settings.data.image_size,
        "requests": REQUESTS,
        "batch_size": BATCH,
        "batches": BATCHES,
        "repeats": paired_timing.REPEATS,
    }
    for name, by_keras in ways.items():
        with clock.stage(name):
            figures[name] = compare_ways(_of_signature(model, name), by_keras, inputs[name])
    return figures


def compare_ways(first: Way, second: Way, examples: Sequence[bytes]) -> dict[str, object]:
    """Compares two ways to answer the same examples, one by one and in batches."""
    batches = _requests(examples, BATCH, BATCHES)
    difference = np.abs(first(batches[0]) - second(batches[0])).max()

    def rate(way: Way) -> float:
        seconds, _ = paired_timing.time_call(lambda: [way(batch) for batch in batches])
        return BATCH * len(batches) / seconds

    return {
        "one": latencies(first, second, _requests(examples, 1, REQUESTS)),
        "batch": paired_timing.compare_rates(lambda: rate(first), lambda: rate(second)),
        "largest_difference": float(difference),
    }


def latencies(first: Way, second: Way, requests: Sequence[Sequence[bytes]]) -> dict[str, float]:
    """Times two ways in turn, request by request.

    Returns:
        Of each the median and the 95th percentile in milliseconds; and of the ratios first/second of the
        medians of each round the median, least and most.
    """
    for way in (first, second):
        way(requests[0])
    rounds = [
        np.array([[_milliseconds(way, request) for way in (first, second)] for request in requests])
        for _ in range(paired_timing.REPEATS)
    ]
    ratios = [float(np.divide(*np.median(part, axis=0))) for part in rounds]
    milliseconds = np.concatenate(rounds)
    row = {
        f"{name}_{quantity}": float(np.percentile(milliseconds[:, column], percentile))
        for column, name in enumerate(("first", "second"))
        for quantity, percentile in (("median", 50), ("95th", 95))
    }
    return row | {
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }


def _milliseconds(way: Way, request: Sequence[bytes]) -> float:
    started = time.perf_counter()
    way(request)
    return 1000 * (time.perf_counter() - started)


def _requests(examples: Sequence[bytes], size: int, count: int) -> list[Sequence[bytes]]:
    """Returns so many requests of so many examples each, which begin again where there are too few."""
    all_examples = list(islice(cycle(examples), size * count))
    return [all_examples[start : start + size] for start in range(0, len(all_examples), size)]


@dataclass(frozen=True)
class Parts:
    """What answers an image, part by part.

    Attributes:
        images: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        image_size: side of the images in pixels.
        bridge: probabilities (B, C) -> sentences (B, P).
        text: sentences -> logits (B, T).
    """

    images: keras.Model
    image_size: int
    bridge: Bridge
    text: TextClassifier

    def served(self, names: tuple[str, ...]) -> ServedImages:
        """Returns the same as one model, with these answers."""
        return ServedImages(
            image_model=self.images,
            image_size=self.image_size,
            temperature=1.0,
            bridge=self.bridge,
            text=self.text,
            text_temperature=1.0,
            names=names,
        )

    def answer_images(self, request: Sequence[bytes]) -> np.ndarray:
        """Decodes, classifies, says what is seen and reads that, as a user of Keras does."""
        images = np.stack([decode(tf.constant(encoded), self.image_size) for encoded in request])
        logits = self.images.predict(images, batch_size=len(request), verbose=0)
        sentences = [self.bridge.describe(row) for row in softmax(logits)]
        text_logits = self._read([sentence for templates in sentences for sentence in templates])
        return softmax(text_logits.reshape(len(request), -1, text_logits.shape[1]).mean(axis=1))

    def answer_texts(self, request: Sequence[bytes]) -> np.ndarray:
        """Tokenizes and reads."""
        return softmax(self._read(request))

    def _read(self, texts: Sequence[bytes] | Sequence[str]) -> np.ndarray:
        tokens = self.text.encoder.padded(texts)
        return self.text.model.predict(tokens, batch_size=len(texts), verbose=0)


def _prepare(settings: Config) -> tuple[Parts, tuple[str, ...], dict[str, list[bytes]]]:
    """Returns the parts, the names of the answers, and what each signature is asked."""
    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    trainer = Trainer(settings.train, settings.run.seed, strategy)
    data = load_configured_images(settings)
    preset = text_encoder_path(settings.text.text_encoder, cache=cache_folder(), offline=settings.run.offline)
    trunk, _ = transfer_backbone(settings, data.train, trainer)
    head = keras.layers.Dense(len(data.class_names))(trunk.output)
    question = question_of(settings, data)
    bridge = Bridge(data.class_names, settings.text.text_style, settings.text.template, settings.text.top_k)
    parts = Parts(
        images=keras.Model(trunk.input, head),
        image_size=settings.data.image_size,
        bridge=bridge,
        text=zero_shot_model(settings, question, preset, trainer),
    )
    indices = range(min(len(data.test), BATCH * BATCHES))
    inputs = {
        "serving_default": [data.test.encoded(index) for index in indices],
        "text": [sentence.encode() for sentence, _ in bridge.text_examples(BATCH, settings.run.seed)],
    }
    return parts, question.names, inputs


def _of_signature(model, name: str) -> Way:
    serve = model.signatures[name]
    (input_name,) = serve.structured_input_signature[1]
    return lambda request: serve(**{input_name: tf.constant(request)})["probabilities"].numpy()

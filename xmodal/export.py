"""One SavedModel with raw inputs, checked in a process that knows nothing of this package."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal import loaded
from xmodal.bridge import Bridge
from xmodal.checkpoint import Stage, State
from xmodal.data.images import decode
from xmodal.files import whole_folder
from xmodal.pair_encoders import Encoders, image_parts
from xmodal.text_classifier import TextClassifier
from xmodal.warm_up import write_requests

# Largest difference of a probability between the model in memory and the export, by what they compute in:
# other batches are added up in another order.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}
# Other forms of an export, each in a folder beside its own.
FORMS = ("int8", "litert", "index", "generator")


class Labelled(tf.Module):
    """What answers with one of several labels, and tells which there are.

    Args:
        names: the labels, in the order of the probabilities.
    """

    def __init__(self, names: tuple[str, ...]):
        super().__init__()
        self._names = tf.constant(names)

    @tf.function(input_signature=[])
    def tell_labels(self):
        """Returns the labels (T,)."""
        return {"labels": tf.identity(self._names)}


class Served(Labelled):
    """The path from image bytes, or from a text, to an answer, as a SavedModel keeps it.

    Args:
        image_model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        image_size: side of the images in pixels.
        temperature: calibrates the image model's logits.
        bridge: probabilities (B, C) -> sentences (B, P).
        text: sentences -> logits of the target question (B, T).
        text_temperature: calibrates these.
        names: the answers, T of them.
    """

    def __init__(
        self,
        *,
        image_model: keras.Model,
        image_size: int,
        temperature: float,
        bridge: Bridge,
        text: TextClassifier,
        text_temperature: float,
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._image_model = image_model
        self._image_size = image_size
        self._temperature = temperature
        self._bridge = bridge
        self._text_model = text.model
        self._preprocessor = text.encoder.preprocessor
        self._text_temperature = text_temperature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, T) and the sentences read (B,)."""
        size = self._image_size
        images = tf.map_fn(
            lambda encoded: decode(encoded, size),
            image_bytes,
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
        logits = self._image_model(images, training=False)
        sentences = self._bridge.sentences(tf.nn.softmax(logits / self._temperature))
        wordings = sentences.shape[1]
        text_logits = self._read(tf.reshape(sentences, [-1]))
        text_logits = tf.reshape(text_logits, [-1, wordings, text_logits.shape[-1]])
        answer = self._answer(tf.reduce_mean(text_logits, axis=1))
        return answer | {"sentence": tf.strings.reduce_join(sentences, axis=1, separator=" | ")}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, T)."""
        return self._answer(self._read(text))

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            "serving_default": self.answer_images,
            "text": self.answer_texts,
            "labels": self.tell_labels,
        }

    def _read(self, texts):
        return self._text_model(self._preprocessor(texts), training=False)

    def _answer(self, logits):
        return _answer(logits / self._text_temperature, self._names)


class ServedDocuments(Labelled):
    """The path from a document, as it is written, to an answer, as a SavedModel keeps it.

    Args:
        text: texts -> logits of the classes (B, C).
        temperature: calibrates these.
        prepare: documents (B,) -> texts (B,), such as `xmodal.data.scrub.scrubbed` or `cleaned`, in-graph.
        names: the classes, C of them.
    """

    def __init__(
        self,
        *,
        text: TextClassifier,
        temperature: float,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._model = text.model
        self._preprocessor = text.encoder.preprocessor
        self._temperature = temperature
        self._prepare = prepare

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
    def answer_texts(self, text):
        """Documents (B,) -> label, probability, probabilities (B, C) and what was read of them (B,)."""
        read = self._prepare(text)
        logits = self._model(self._preprocessor(read), training=False)
        return _answer(logits / self._temperature, self._names) | {"read": read}

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {"serving_default": self.answer_texts, "labels": self.tell_labels}


class ServedPairs(Labelled):
    """The path from an image and a text, or from one of them, to an answer, as a SavedModel keeps it.

    Args:
        encoders: of both sides.
        image_size: side of the images in pixels.
        model: a dict of what a fusion model reads -> logits of the classes (B, C).
        temperature: calibrates these.
        names: the classes, C of them.
    """

    def __init__(
        self,
        *,
        encoders: Encoders,
        image_size: int,
        model: keras.Model,
        temperature: float,
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._trunk = encoders.trunk
        self._map_shape = encoders.map_shape
        self._preprocessor = encoders.text.preprocessor
        self._text_model = encoders.text_model
        self._image_size = image_size
        self._model = model
        self._temperature = temperature

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.string, name="text"),
        ]
    )
    def answer_pairs(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> label, probability and probabilities (B, C)."""
        return self._answered(self._seen(image_bytes) | self._said(text))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability and probabilities (B, C)."""
        missing = tf.fill(tf.shape(image_bytes), "")
        return self._answered(self._seen(image_bytes) | self._said(missing))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, C)."""
        rows = tf.zeros([tf.shape(text)[0], self._trunk.output.shape[-1]])
        missing = image_parts(rows, self._map_shape) | {"has_image": tf.zeros(tf.shape(text))}
        return self._answered(missing | self._said(text))

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            "serving_default": self.answer_pairs,
            "image": self.answer_images,
            "text": self.answer_texts,
            "labels": self.tell_labels,
        }

    def _seen(self, image_bytes):
        size = self._image_size
        there = tf.strings.length(image_bytes) > 0

        def pixels(encoded):
            return tf.cond(
                tf.strings.length(encoded) > 0,
                lambda: decode(encoded, size),
                lambda: tf.zeros([size, size, 3]),
            )

        images = tf.map_fn(
            pixels, image_bytes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32)
        )
        rows = self._trunk(images, training=False)
        return image_parts(rows, self._map_shape) | {"has_image": tf.cast(there, tf.float32)}

    def _said(self, text):
        text = tf.strings.strip(text)
        tokens = self._preprocessor(text)
        rows = self._text_model(tokens, training=False)
        return {
            "text": rows[:, 0],
            "tokens": rows[:, 1:],
            "token_mask": tf.cast(tokens["padding_mask"], tf.float32),
            "has_text": tf.cast(tf.strings.length(text) > 0, tf.float32),
        }

    def _answered(self, parts):
        inputs = {name: parts[name] for name in self._model.input}
        logits = self._model(inputs, training=False)
        return _answer(tf.cast(logits, tf.float32) / self._temperature, self._names)


def _answer(logits, names):
    probabilities = tf.nn.softmax(logits)
    return {
        "label": tf.gather(names, tf.argmax(probabilities, axis=1)),
        "probability": tf.reduce_max(probabilities, axis=1),
        "probabilities": probabilities,
    }


def export(served: Served | ServedDocuments | ServedPairs, folder: Path, kept: Stage | None = None) -> Path:
    """Saves a model as the next version in a folder, the layout that TensorFlow Serving watches.

    Args:
        served: the model.
        folder: such as saved_models/vgg_to_bert.
        kept: remembers the version, so that a run that goes on does not export a second one.

    Returns:
        The folder of the new version, <folder>/<version>.
    """
    version = destination(folder, kept)
    if version.exists():
        return version
    with whole_folder(version) as temporary:
        signatures = served.signatures()
        tf.saved_model.save(served, str(temporary), signatures=signatures)
        inputs = {
            name: [spec.name for spec in function.input_signature] for name, function in signatures.items()
        }
        write_requests({name: names for name, names in inputs.items() if names}, temporary)
    return version


def form_folder(exported: Path, form: str) -> Path:
    """Returns the folder of another form: saved_models/bert_news_int8/1 for saved_models/bert_news/1."""
    folder = exported.parent
    return folder.with_name(f"{folder.name}_{form}") / exported.name


def destination(folder: Path, kept: Stage | None) -> Path:
    """Returns the next version in a folder; arguments as `export` takes them."""
    found = kept.newest() if kept else None
    if found:
        return Path(found[0].facts["destination"])
    # A number belongs to one run, in all forms.
    taken = [folder, *(folder.with_name(f"{folder.name}_{form}") for form in FORMS)]
    versions = [int(path.name) for own in taken for path in own.glob("*") if path.name.isdecimal()]
    version = folder / str(max(versions, default=0) + 1)
    if kept:
        kept.save(0, State({}, {"destination": str(version)}))
    return version


def check(
    exported: Path,
    inputs: list[bytes] | dict[str, list[bytes]],
    probabilities: np.ndarray,
    signature: str = "serving_default",
) -> float:
    """Loads an export in a fresh process and compares its answers with those of the model in memory.

    Args:
        exported: folder of the SavedModel.
        inputs: encoded images or texts, N of them; by name where the signature has several inputs.
        probabilities: what the model in memory answers (N, T).
        signature: which one is asked.

    Returns:
        The largest absolute difference of a probability.

    Raises:
        RuntimeError: when the export cannot be loaded, or differs by more than `TOLERANCES` allow.
    """
    with tempfile.TemporaryDirectory() as folder:
        named = inputs if isinstance(inputs, dict) else {"": inputs}
        for name, values in named.items():
            (Path(folder) / name).mkdir(exist_ok=True)
            for number, encoded in enumerate(values):
                (Path(folder) / name / f"{number:06d}").write_bytes(encoded)
        process = subprocess.run(
            [sys.executable, loaded.__file__, str(exported), folder, signature],
            capture_output=True,
            text=True,
        )
    if process.returncode:
        raise RuntimeError(f"the export in {exported} cannot be used: {process.stderr.strip()[-2000:]}")
    answers = json.loads(process.stdout.splitlines()[-1])
    difference = float(np.max(np.abs(np.array(answers["probabilities"]) - probabilities)))
    tolerance = TOLERANCES[keras.config.dtype_policy().compute_dtype]
    if not difference <= tolerance:
        raise RuntimeError(
            f"the export in {exported} differs from the model in memory by {difference:.2e}, "
            f"more than {tolerance:.0e}"
        )
    return difference

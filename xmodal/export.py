"""One SavedModel with raw inputs: what it answers, how it embeds, and where it goes."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from xmodal.bridge import Bridge
from xmodal.checkpoint import Stage, State
from xmodal.files import digests, new_folder, rename_folder
from xmodal.job import CARD
from xmodal.pair_encoders import Encoders, image_parts
from xmodal.serving import (
    IMAGE_BYTES,
    TEXT,
    Inference,
    Tokenizer,
    has_image,
    has_text,
    of_length_one,
    pixels,
    pixels_or_black,
)
from xmodal.text_classifier import TextClassifier
from xmodal.warm_up import write_requests

# Other forms of an export, each in a folder beside its own.
FORMS = ("int8", "litert", "index", "generator")
# What is told about an export, as a run's facts.
Told = dict[str, float | int | str]


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
        self._image_model = Inference(image_model)
        self._image_size = image_size
        self._temperature = temperature
        self._bridge = bridge
        self._text_model = Inference(text.model)
        self._text_encoder = Inference(text.encoder.model)
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._text_temperature = text_temperature

    @tf.function(input_signature=[IMAGE_BYTES])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, T) and the sentences read (B,)."""
        sentences = self._sentences(pixels(image_bytes, self._image_size))
        return self._answer(self._logits(sentences)) | {"sentence": _in_one(sentences)}

    @tf.function(input_signature=[TEXT])
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, T)."""
        return self._answer(self._logits(text[:, None]))

    @tf.function(input_signature=[IMAGE_BYTES, TEXT])
    def answer_pairs(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> as `answer_images`, from both sides.

        The sides are two opinions, which a logarithmic pool with equal weights joins: the mean of their log
        probabilities (Genest and Zidek 1986, doi:10.1214/ss/1177013825). Without one of them it is the
        other; without both, all answers are equally probable.
        """
        sentences = self._sentences(pixels_or_black(image_bytes, self._image_size))
        there = tf.cast(tf.stack([has_image(image_bytes), has_text(text)], axis=1), tf.float32)
        logits = tf.stack([self._logits(sentences), self._logits(text[:, None])], axis=1)
        # Log probabilities are logits less something that all answers share, which the softmax drops.
        summed = tf.reduce_sum(there[:, :, None] * logits, axis=1)
        answer = self._answer(summed / tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0))
        return answer | {"sentence": tf.where(has_image(image_bytes), _in_one(sentences), "")}

    @tf.function(input_signature=[IMAGE_BYTES])
    def embed_images(self, image_bytes):
        """Encoded images (B,) -> "embedding" (B, D), that of the sentences that the bridge writes for them.

        Images and texts are in one space therefore, BERT's. An image is there where its sentences say it is:
        what they leave out of it is lost.
        """
        return {"embedding": self._embedded(self._sentences(pixels(image_bytes, self._image_size)))}

    @tf.function(input_signature=[TEXT])
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, D), BERT's sentence vectors, of length 1."""
        return {"embedding": self._embedded(text[:, None])}

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            "serving_default": self.answer_images,
            "text": self.answer_texts,
            "image_and_text": self.answer_pairs,
            "embed_image": self.embed_images,
            "embed_text": self.embed_texts,
            "labels": self.tell_labels,
        }

    def _sentences(self, images):
        logits = self._image_model(images)
        return self._bridge.sentences(tf.nn.softmax(logits / self._temperature))

    def _logits(self, wordings):
        """The mean over P wordings of each example, (B, P) -> (B, T)."""
        return tf.reduce_mean(self._read(self._text_model, wordings), axis=1)

    def _embedded(self, wordings):
        """The mean direction of P wordings, (B, P) -> (B, D), as CLIP's prompt ensembles.

        Radford et al. 2021 (arXiv:2103.00020), section 3.1.4.
        """
        vectors = of_length_one(self._read(self._text_encoder, wordings))
        return of_length_one(tf.reduce_mean(vectors, axis=1))

    def _read(self, model, wordings):
        rows = model(self._preprocessor(tf.reshape(wordings, [-1])))
        return tf.reshape(rows, [-1, wordings.shape[1], rows.shape[-1]])

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
        self._model = Inference(text.model)
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._temperature = temperature
        self._prepare = prepare

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Documents (B,) -> label, probability, probabilities (B, C) and what was read of them (B,)."""
        read = self._prepare(text)
        logits = self._model(self._preprocessor(read))
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
        self._trunk = Inference(encoders.trunk)
        self._trunk_width = encoders.trunk.output.shape[-1]
        self._map_shape = encoders.map_shape
        self._preprocessor = Tokenizer(encoders.text.preprocessor)
        self._text_model = Inference(encoders.text_model)
        self._image_size = image_size
        self._model = Inference(model)
        self._inputs = tuple(model.input)
        self._temperature = temperature

    @tf.function(input_signature=[IMAGE_BYTES, TEXT])
    def answer_pairs(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> label, probability and probabilities (B, C)."""
        return self._answered(self._seen(image_bytes) | self._said(text))

    @tf.function(input_signature=[IMAGE_BYTES])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability and probabilities (B, C)."""
        missing = tf.fill(tf.shape(image_bytes), "")
        return self._answered(self._seen(image_bytes) | self._said(missing))

    @tf.function(input_signature=[TEXT])
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, C)."""
        rows = tf.zeros([tf.shape(text)[0], self._trunk_width])
        missing = image_parts(rows, self._map_shape) | {"has_image": tf.zeros(tf.shape(text))}
        return self._answered(missing | self._said(text))

    @tf.function(input_signature=[IMAGE_BYTES])
    def embed_images(self, image_bytes):
        """Encoded images (B,) -> "embedding" (B, D), the trunk's pooled features, of length 1."""
        rows = self._trunk(pixels(image_bytes, self._image_size))
        return {"embedding": of_length_one(image_parts(rows, self._map_shape)["image"])}

    @tf.function(input_signature=[TEXT])
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, E), BERT's sentence vectors, of length 1.

        They are in another space than the images, with another number of dimensions: the sides meet in the
        fusion model and not before.
        """
        return {"embedding": of_length_one(self._said(text)["text"])}

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            "serving_default": self.answer_pairs,
            "image": self.answer_images,
            "text": self.answer_texts,
            "image_and_text": self.answer_pairs,
            "embed_image": self.embed_images,
            "embed_text": self.embed_texts,
            "labels": self.tell_labels,
        }

    def _seen(self, image_bytes):
        rows = self._trunk(pixels_or_black(image_bytes, self._image_size))
        there = tf.cast(has_image(image_bytes), tf.float32)
        return image_parts(rows, self._map_shape) | {"has_image": there}

    def _said(self, text):
        text = tf.strings.strip(text)
        tokens = self._preprocessor(text)
        rows = self._text_model(tokens)
        return {
            "text": rows[:, 0],
            "tokens": rows[:, 1:],
            "token_mask": tf.cast(tokens["padding_mask"], tf.float32),
            "has_text": tf.cast(has_text(text), tf.float32),
        }

    def _answered(self, parts):
        inputs = {name: parts[name] for name in self._inputs}
        logits = self._model(inputs)
        return _answer(logits / self._temperature, self._names)


def _in_one(sentences):
    return tf.strings.reduce_join(sentences, axis=1, separator=" | ")


def _answer(logits, names):
    probabilities = tf.nn.softmax(logits)
    return {
        "label": tf.gather(names, tf.argmax(probabilities, axis=1)),
        "probability": tf.reduce_max(probabilities, axis=1),
        "probabilities": probabilities,
    }


def export(served: Served | ServedDocuments | ServedPairs, folder: Path) -> Path:
    """Saves a model as the next version in a folder, and returns the folder of that, <folder>/<version>."""
    return publish(folder, partial(save, served))[0]


def save(served: Served | ServedDocuments | ServedPairs, folder: Path) -> None:
    """Saves a model, and requests that warm it up, in a folder that is there."""
    signatures = served.signatures()
    tf.saved_model.save(served, str(folder), signatures=signatures)
    inputs = {name: [spec.name for spec in function.input_signature] for name, function in signatures.items()}
    write_requests({name: names for name, names in inputs.items() if names}, folder)


def publish(
    folder: Path,
    write: Callable[[Path], None],
    check: Callable[[Path], Told] = lambda folder: {},
    kept: Stage | None = None,
    form: str = "",
) -> tuple[Path, Told]:
    """Gives a model the next version in a folder, the layout that TensorFlow Serving watches.

    It stands under its number only when it is whole and checked.

    Args:
        folder: such as saved_models/vgg_to_bert.
        write: fills a folder.
        check: tells about what was written, or raises.
        kept: remembers what was written and told. A run that goes on finds its own version by the content,
            and publishes no second one; what another run put there is left alone.
        form: the model's form, where it has no export of its own; see `form_folder`.

    Returns:
        The folder of the version, and what `check` told about it.
    """

    def place(version: Path) -> Path:
        return form_folder(version, form) if form else version

    found = kept.newest() if kept else None
    facts = found[0].facts if found else {}
    for version in _versions([place(folder / "1").parent]) if found else ():
        if facts.get("sha256") == _digest(version):
            return version, facts["told"]
    with new_folder(place(folder / "new")) as temporary:
        write(temporary)
        told = check(temporary)
        if kept:
            attempt = facts.get("attempt", 0) + 1
            state = {"sha256": _digest(temporary), "told": told, "attempt": attempt}
            kept.save(attempt, State({}, state))
        # Another run may take a number first.
        while not rename_folder(temporary, version := place(next_version(folder))):
            pass
    return version, told


def form_folder(exported: Path, form: str) -> Path:
    """Returns the folder of another form: saved_models/bert_news_int8/1 for saved_models/bert_news/1."""
    folder = exported.parent
    return folder.with_name(f"{folder.name}_{form}") / exported.name


def next_version(folder: Path) -> Path:
    """Returns the next version in a folder: a number belongs to one run, in all forms."""
    taken = _versions([folder, *(folder.with_name(f"{folder.name}_{form}") for form in FORMS)])
    return folder / str(max((int(path.name) for path in taken), default=0) + 1)


def _versions(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in folder.glob("*") if path.name.isdecimal()]


def _digest(folder: Path) -> str:
    """The SHA-256 of a version, whatever its card says."""
    told = {name: digest for name, digest in digests(folder).items() if name != CARD}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

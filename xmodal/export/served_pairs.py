"""The path from an image, a text and a sound to an answer, as a SavedModel keeps it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from xmodal.data.decoding import MAX_PIXELS
from xmodal.data.modalities import subsets
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import all_windows
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_limits import ServedLimits
from xmodal.export.served_sounds import or_silence
from xmodal.export.served_why import Differentiable, gradient_maps, word_shares
from xmodal.export.serving import (
    AUDIO_BYTES,
    IMAGE_BYTES,
    TEXT,
    Inference,
    Labelled,
    Tokenizer,
    has_image,
    has_text,
    labelled_answer,
    or_black,
    pixels,
    unit_vectors,
)
from xmodal.models.opened_models import with_maps
from xmodal.models.window_layers import over_windows
from xmodal.tasks.pair_encoders import Encoders

# What is taken of each modality.
SPECS = {"image": IMAGE_BYTES, "text": TEXT, "sound": AUDIO_BYTES}


class ServedPairs(Labelled):
    """The path from an image, a text and, where pairs have one, a sound to an answer.

    Any part of them is answered.

    Args:
        encoders: of all modalities.
        image_size: side of the images, and of spectrograms, in pixels.
        max_pixels: of an encoded image; more are not decoded.
        sound: how sounds are read, where pairs have one.
        model: a dict of what a fusion model reads -> logits of the classes (B, C).
        temperature: calibrates these.
        prepare: texts (B,) as they were written -> those that are read (B,), in-graph.
        names: the classes, C of them.
        limits: what is promised of the answers to pairs; None promises nothing.
    """

    def __init__(
        self,
        *,
        encoders: Encoders,
        image_size: int,
        max_pixels: int = MAX_PIXELS,
        sound: SoundFormat = SoundFormat(),
        model: keras.Model,
        temperature: float,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        names: tuple[str, ...],
        limits: AnswerLimits | None = None,
    ):
        super().__init__(names)
        # What is built on an export asks it for these.
        self.image_side = tf.Variable(image_size, trainable=False, dtype=tf.int32)
        self.max_pixels = tf.Variable(max_pixels, trainable=False, dtype=tf.int64)
        if "sound" in encoders.pictures:
            self.max_seconds = tf.Variable(sound.max_seconds, trainable=False, dtype=tf.float32)
            self.seconds = tf.Variable(sound.seconds, trainable=False, dtype=tf.float32)
            self.rate = tf.Variable(sound.rate, trainable=False, dtype=tf.int32)
        self._sides = _sides(encoders, image_size, max_pixels, sound, prepare)
        self._model = Inference(model)
        self._inputs = tuple(model.input)
        self._temperature = temperature
        self._prepare = prepare
        self._limits = ServedLimits(limits, names, "it is most like") if limits else None
        self._part_of_code = _parts_by_code(tuple(self._sides), tuple(limits.sets_of_parts) if limits else ())
        trunk = with_maps(encoders.pictures["image"].backbone)
        self._maps = Differentiable(trunk) if trunk else None
        self._words = word_shares(encoders.text_model, self._sides["text"].tokenizer)
        self._fused = Differentiable(model)
        modalities = tuple(self._sides)
        if self._maps:
            self.explain_images = self._function_of(self._explain, modalities)
        if self._words:
            self.explain_texts = self._function_of(self._explain_words, modalities)

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        modalities = tuple(self._sides)
        parts = {
            "_and_".join(part): self._function_of(self._answer, part)
            for part in subsets(modalities).values()
            if part != modalities
        }
        main_function = self._function_of(self._answer_whole, modalities)
        return {
            **({"why": self.explain_images} if self._maps else {}),
            **({"why_text": self.explain_texts} if self._words else {}),
            "serving_default": main_function,
            **parts,
            "_and_".join(modalities): main_function,
            **{f"embed_{name}": self._function_of(self._embed, (name,)) for name in modalities},
            "labels": self.tell_labels,
        }

    def _function_of(self, answer: Callable[[dict[str, tf.Tensor]], Any], part: Sequence[str]) -> Any:
        """Returns a function of encoded contents (B,) of some modalities, "" for none."""
        specs = [SPECS[name] for name in part]

        def ask(*contents):
            return answer(dict(zip(part, contents, strict=True)))

        return tf.function(ask, input_signature=specs, autograph=False)

    def _answer(self, contents):
        """Encoded contents by modality (B,) -> label, probability and probabilities (B, C)."""
        return labelled_answer(self._logits(self._read(contents)) / self._temperature, self._names)

    def _answer_whole(self, contents):
        """As `_answer`; with limits also what `ServedLimits` tells, by the modalities that a pair has."""
        parts = self._read(contents)
        logits = self._logits(parts)
        answer = labelled_answer(logits / self._temperature, self._names)
        if self._limits is None:
            return answer
        rows = {side: parts[side] * parts[f"has_{side}"][:, None] for side in self._sides}
        bits = [2**place * tf.cast(parts[f"has_{side}"], tf.int32) for place, side in enumerate(self._sides)]
        part = tf.gather(self._part_of_code, tf.add_n(bits))
        return answer | self._limits(self._names, logits, logits, rows, part=part)

    def _embed(self, contents):
        """Encoded contents of one modality (B,) -> "embedding" (B, D), of length 1: what its encoder gives.

        Those of several modalities are in spaces of their own, with numbers of dimensions of their own: they
        meet in the fusion model and not before.
        """
        ((name, content),) = contents.items()
        return {"embedding": unit_vectors(self._sides[name].strictly(content)[name])}

    def _explain(self, contents):
        """Encoded contents by modality (B,) -> "map" (B, h, w), where the image speaks for the answer."""
        assert self._maps
        image_bytes, other_contents = (
            contents["image"],
            {name: contents[name] for name in contents if name != "image"},
        )
        images = self._sides["image"].pixels(image_bytes)
        other_parts, mask = (
            self._read(other_contents, absent=False),
            tf.cast(has_image(image_bytes), tf.float32),
        )
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps, rows = self._maps(images)
            parts = self._sides["image"].parts(rows) | {"has_image": mask} | other_parts
            scores = tf.reduce_max(self._fused({name: parts[name] for name in self._inputs}), axis=1)
        return {"map": mask[:, None, None] * gradient_maps(maps, tape.gradient(scores, maps))}

    def _explain_words(self, contents):
        """Encoded contents by modality (B,) -> "words" (B, T), "shares", "difference", see `WordShares`."""
        assert self._words
        other_contents = {name: contents[name] for name in contents if name != "text"}
        other_parts = self._read(other_contents, absent=False)

        def shares_of(rows, *other_rows):
            points = tf.shape(rows)[0]
            parts = {
                name: tf.repeat(part[None], points, axis=0)
                for name, part in zip(other_parts, other_rows, strict=True)
            }
            # All tokens of a text that is read alone are there.
            masks = {"token_mask": tf.ones(tf.shape(rows[:, 1:, 0])), "has_text": tf.ones([points])}
            parts |= masks | {"text": rows[:, 0], "tokens": rows[:, 1:]}
            return tf.nn.softmax(self._logits(parts) / self._temperature)

        return self._words(self._prepare(contents["text"]), shares_of, *other_parts.values())

    def _read(self, contents, absent=True):
        """Encoded contents by modality (B,) -> what a fusion model reads, of absent modalities too."""
        count = tf.shape(next(iter(contents.values())))[0]
        parts: dict[str, tf.Tensor] = {}
        for name, side in self._sides.items():
            if name in contents:
                parts |= side(contents[name])
            elif absent:
                parts |= side.missing(count)
        return parts

    def _logits(self, parts):
        return self._model({name: parts[name] for name in self._inputs})


def _parts_by_code(modalities: Sequence[str], parts: Sequence[tuple[str, ...]]) -> list[int]:
    """Returns which sets of `AnswerLimits` count, by the sum of 2**n for each n-th modality that is there."""

    def part_of(code: int) -> int:
        there = tuple(name for place, name in enumerate(modalities) if code >> place & 1)
        return 1 + parts.index(there) if there in parts else 0

    return [part_of(code) for code in range(2 ** len(modalities))]


class _ServedPictures(tf.Module):
    """What reads images, or the spectrograms of sounds.

    Args:
        modality: "image" or "sound".
        encoders: of all modalities.
        pixels: encoded ones (B,) -> pictures (B, H, W, 3), of sounds windows (B, n, H, W, 3).
        filled: encoded ones (B,) -> the same, with one of nothing in the place of "".
    """

    def __init__(
        self,
        modality: str,
        encoders: Encoders,
        pixels: Callable[[tf.Tensor], tf.Tensor],
        filled: Callable[[tf.Tensor], tf.Tensor],
    ):
        super().__init__()
        backbone = encoders.pictures[modality].backbone
        self._trunk = Inference(over_windows(backbone) if modality == "sound" else backbone)
        self._width = backbone.output.shape[-1]
        self._there, self._strictly, self._filled = f"has_{modality}", pixels, filled
        self.parts = partial(encoders.parts, modality)
        # Traced once for all signatures.
        self._call = tf.function(self._read, input_signature=[SPECS[modality]], autograph=False)

    def __call__(self, encoded):
        """Encoded ones (B,), "" for none -> what a fusion model reads of them."""
        return self._call(encoded)

    def _read(self, encoded):
        parts = self.parts(self._trunk(self.pixels(encoded)))
        return parts | {self._there: tf.cast(has_image(encoded), tf.float32)}

    def pixels(self, encoded):
        """Encoded ones (B,), "" for none -> pictures."""
        return self._strictly(self._filled(encoded))

    def strictly(self, encoded):
        """As a call, of encoded ones that are all there."""
        return self.parts(self._trunk(self._strictly(encoded)))

    def missing(self, count):
        """What a fusion model reads of so many that are not there."""
        return self.parts(tf.zeros([count, self._width])) | {self._there: tf.zeros([count])}


class _ServedTexts(tf.Module):
    """What reads texts, once `prepare` has made them what is read; other arguments as of `ServedPairs`."""

    def __init__(self, encoders: Encoders, prepare: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self.tokenizer = Tokenizer(encoders.text.preprocessor)
        self._model = Inference(encoders.text_model)
        self._parts, self._prepare = partial(encoders.parts, "text"), prepare
        self._call = tf.function(self._read, input_signature=[TEXT], autograph=False)

    def __call__(self, text):
        """Texts (B,), "" for none -> what a fusion model reads of them."""
        return self._call(text)

    def _read(self, text):
        text = tf.strings.strip(self._prepare(text))
        tokens = self.tokenizer(text)
        parts = self._parts(self._model(tokens), tf.cast(tokens["padding_mask"], tf.float32))
        return parts | {"has_text": tf.cast(has_text(text), tf.float32)}

    strictly = __call__

    def missing(self, count):
        """What a fusion model reads of so many that are not there."""
        return self(tf.fill([count], ""))


def _sides(
    encoders: Encoders,
    image_size: int,
    max_pixels: int,
    sound: SoundFormat,
    prepare: Callable[[tf.Tensor], tf.Tensor],
) -> dict[str, Any]:
    """Returns what reads each modality; arguments as of `ServedPairs`."""

    def images(encoded):
        return pixels(encoded, image_size, max_pixels)

    def windows(encoded):
        return all_windows(encoded, tf.identity, image_size, sound, sound.max_seconds)

    sides: dict[str, Any] = {
        "image": _ServedPictures("image", encoders, images, or_black),
        "text": _ServedTexts(encoders, prepare),
    }
    if "sound" in encoders.pictures:
        sides["sound"] = _ServedPictures("sound", encoders, windows, or_silence)
    return sides

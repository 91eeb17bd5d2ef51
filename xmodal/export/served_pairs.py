"""The path from an image and a text to an answer, as a SavedModel keeps it."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from xmodal.data.decoding import MAX_PIXELS
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_limits import ServedLimits
from xmodal.export.served_why import Differentiable, gradient_maps, word_shares
from xmodal.export.serving import (
    IMAGE_BYTES,
    TEXT,
    Inference,
    Labelled,
    Tokenizer,
    has_image,
    has_text,
    labelled_answer,
    pixels,
    pixels_or_black,
    unit_vectors,
)
from xmodal.models.opened_models import with_maps
from xmodal.tasks.pair_encoders import Encoders, image_parts


class ServedPairs(Labelled):
    """The path from an image and a text, or from one of them, to an answer, as a SavedModel keeps it.

    Args:
        encoders: of both sides.
        image_size: side of the images in pixels.
        max_pixels: of an encoded image; more are not decoded.
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
        model: keras.Model,
        temperature: float,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        names: tuple[str, ...],
        limits: AnswerLimits | None = None,
    ):
        super().__init__(names)
        self._trunk = Inference(encoders.backbone)
        self._trunk_width = encoders.backbone.output.shape[-1]
        self._map_shape = encoders.map_shape
        self._preprocessor = Tokenizer(encoders.text.preprocessor)
        self._text_model = Inference(encoders.text_model)
        self._image_size = image_size
        self._max_pixels = max_pixels
        # What is built on an export asks it for these.
        self.image_side = tf.Variable(image_size, trainable=False, dtype=tf.int32)
        self.max_pixels = tf.Variable(max_pixels, trainable=False, dtype=tf.int64)
        self._model = Inference(model)
        self._inputs = tuple(model.input)
        self._temperature = temperature
        self._prepare = prepare
        self._limits = ServedLimits(limits, names, "it is most like") if limits else None
        trunk, self._words = (
            with_maps(encoders.backbone),
            word_shares(encoders.text_model, self._preprocessor),
        )
        self._maps = Differentiable(trunk) if trunk else None
        self._fused = Differentiable(model)
        specs = [IMAGE_BYTES, TEXT]
        if self._maps:
            self.explain_images = tf.function(self._explain, input_signature=specs, autograph=False)
        if self._words:
            self.explain_texts = tf.function(self._explain_words, input_signature=specs, autograph=False)

    @tf.function(input_signature=[IMAGE_BYTES, TEXT])
    def answer_pairs(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> label, probability and probabilities (B, C).

        With limits also what `ServedLimits` tells, of such pairs as the limits were fitted on.
        """
        parts = self._image_inputs(image_bytes) | self._text_inputs(text)
        logits = self._logits(parts)
        answer = labelled_answer(logits / self._temperature, self._names)
        if self._limits is None:
            return answer
        rows = {side: parts[side] * parts[f"has_{side}"][:, None] for side in ("image", "text")}
        return answer | self._limits(self._names, logits, logits, rows)

    @tf.function(input_signature=[IMAGE_BYTES])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability and probabilities (B, C)."""
        missing = tf.fill(tf.shape(image_bytes), "")
        return self._answered(self._image_inputs(image_bytes) | self._text_inputs(missing))

    @tf.function(input_signature=[TEXT])
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, C)."""
        rows = tf.zeros([tf.shape(text)[0], self._trunk_width])
        missing = image_parts(rows, self._map_shape) | {"has_image": tf.zeros(tf.shape(text))}
        return self._answered(missing | self._text_inputs(text))

    @tf.function(input_signature=[IMAGE_BYTES])
    def embed_images(self, image_bytes):
        """Encoded images (B,) -> "embedding" (B, D), the trunk's pooled features, of length 1."""
        rows = self._trunk(pixels(image_bytes, self._image_size, self._max_pixels))
        return {"embedding": unit_vectors(image_parts(rows, self._map_shape)["image"])}

    @tf.function(input_signature=[TEXT])
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, E), BERT's sentence vectors, of length 1.

        They are in another space than the images, with another number of dimensions: the sides meet in the
        fusion model and not before.
        """
        return {"embedding": unit_vectors(self._text_inputs(text)["text"])}

    def _explain(self, image_bytes, text):
        """Encoded images and texts (B,) -> "map" (B, h, w), where the image speaks for the answer."""
        assert self._maps
        images = pixels_or_black(image_bytes, self._image_size, self._max_pixels)
        of_text, there = self._text_inputs(text), tf.cast(has_image(image_bytes), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps, rows = self._maps(images)
            parts = image_parts(rows, self._map_shape) | {"has_image": there} | of_text
            scores = tf.reduce_max(self._fused({name: parts[name] for name in self._inputs}), axis=1)
        return {"map": there[:, None, None] * gradient_maps(maps, tape.gradient(scores, maps))}

    def _explain_words(self, image_bytes, text):
        """Encoded images and texts (B,) -> "words" (B, T), "shares", "difference", see `WordShares`."""
        assert self._words
        of_images = self._image_inputs(image_bytes)

        def shares_of(rows, *of_image):
            points = tf.shape(rows)[0]
            parts = {
                name: tf.repeat(part[None], points, axis=0)
                for name, part in zip(of_images, of_image, strict=True)
            }
            # All tokens of a text that is read alone are there.
            there = {"token_mask": tf.ones(tf.shape(rows[:, 1:, 0])), "has_text": tf.ones([points])}
            parts |= there | {"text": rows[:, 0], "tokens": rows[:, 1:]}
            return tf.nn.softmax(self._logits(parts) / self._temperature)

        return self._words(self._prepare(text), shares_of, *of_images.values())

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            **({"why": self.explain_images} if self._maps else {}),
            **({"why_text": self.explain_texts} if self._words else {}),
            "serving_default": self.answer_pairs,
            "image": self.answer_images,
            "text": self.answer_texts,
            "image_and_text": self.answer_pairs,
            "embed_image": self.embed_images,
            "embed_text": self.embed_texts,
            "labels": self.tell_labels,
        }

    def _image_inputs(self, image_bytes):
        rows = self._trunk(pixels_or_black(image_bytes, self._image_size, self._max_pixels))
        there = tf.cast(has_image(image_bytes), tf.float32)
        return image_parts(rows, self._map_shape) | {"has_image": there}

    def _text_inputs(self, text):
        text = tf.strings.strip(self._prepare(text))
        tokens = self._preprocessor(text)
        rows = self._text_model(tokens)
        return {
            "text": rows[:, 0],
            "tokens": rows[:, 1:],
            "token_mask": tf.cast(tokens["padding_mask"], tf.float32),
            "has_text": tf.cast(has_text(text), tf.float32),
        }

    def _answered(self, parts):
        return labelled_answer(self._logits(parts) / self._temperature, self._names)

    def _logits(self, parts):
        return self._model({name: parts[name] for name in self._inputs})

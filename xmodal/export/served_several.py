"""Answers of several labels, or none, as a SavedModel gives them: of documents, and of images by a text."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.class_names import readable, with_article
from xmodal.evaluation.limits import NONE_OF_THESE
from xmodal.export.serving import IMAGE_BYTES, TEXT, Inference, Labelled, Tokenizer, pixels
from xmodal.tasks.text_classifier import TextClassifier


class SeveralLabels(tf.Module):
    """Gives the labels whose probabilities reach their thresholds, and names them in a sentence.

    Args:
        names: the labels, C of them.
        thresholds: of their probabilities (C,).
        phrases: the labels as a sentence has them, such as "a dog"; by default their names in words.

    Example:
        >>> several = SeveralLabels(("oil", "gas", "gold"), np.array([0.5, 0.2, 0.5]))
        >>> answer = several(tf.constant([[2.0, -1.0, -9.0]]), tf.constant(["oil", "gas", "gold"]))
        >>> answer["labels"].numpy().tolist(), answer["sentence"].numpy().tolist()
        ([[b'oil', b'gas']], [b'oil and gas'])
    """

    def __init__(self, names: Sequence[str], thresholds: np.ndarray, phrases: Sequence[str] | None = None):
        super().__init__()
        phrases = phrases or [readable(name) or name for name in names]
        self._thresholds = tf.Variable(thresholds, trainable=False, dtype=tf.float32)
        self._phrases = tf.constant(list(phrases))

    def __call__(self, logits: tf.Tensor, names: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what is served of logits (B, C).

        These are the probabilities (B, C) of the labels, each for itself; the labels that are given (B, S),
        likeliest first and "" after them, S being the most of an example of the batch, and 1 at least; a
        sentence of them (B,); and the likeliest label with its probability (B,), given or not.
        """
        probabilities = tf.sigmoid(logits)
        is_given = probabilities >= self._thresholds
        # Those that are given come first.
        order = tf.argsort(
            probabilities + 2.0 * tf.cast(is_given, tf.float32), axis=1, direction="DESCENDING"
        )
        counts = tf.reduce_sum(tf.cast(is_given, tf.int32), axis=1)
        number = tf.range(tf.shape(logits)[1])
        is_shown = number < counts[:, None]
        width = tf.reduce_max(tf.concat([counts, [1]], axis=0))
        is_last = (number == counts[:, None] - 1) & (number > 0)
        separators = tf.where(is_last, " and ", tf.where(number > 0, ", ", ""))
        words = tf.strings.join([separators, tf.gather(self._phrases, order)])
        sentence = tf.strings.reduce_join(tf.where(is_shown, words, ""), axis=1)
        return {
            "label": tf.gather(names, tf.argmax(probabilities, axis=1)),
            "probability": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "labels": tf.where(is_shown, tf.gather(names, order), "")[:, :width],
            "sentence": tf.where(counts > 0, sentence, NONE_OF_THESE),
        }


class LabelSentences(tf.Module):
    """Puts logits of an image model into sentences that name the labels: "a photo of a dog and a ball".

    Args:
        names: the labels, C of them.
        thresholds: of their probabilities (C,).
        temperature: calibrates the logits.
        templates: P texts around the labels, each with `{}` where they go.

    Example:
        >>> sentences = LabelSentences(("dog", "ball"), np.array([0.5, 0.5]), 1.0, ("a photo of {}",))
        >>> sentences(tf.constant([[3.0, 2.0], [-3.0, 2.0]])).numpy().tolist()
        [[b'a photo of a dog and a ball'], [b'a photo of a ball']]
    """

    def __init__(
        self, names: Sequence[str], thresholds: np.ndarray, temperature: float, templates: Sequence[str]
    ):
        super().__init__()
        self._names = tf.constant(list(names))
        self._labels = SeveralLabels(names, thresholds, [with_article(readable(name)) for name in names])
        self._temperature = temperature
        self._around = [tuple(template.split("{}")) for template in templates]

    def __call__(self, logits: tf.Tensor) -> tf.Tensor:
        """Logits (B, C) -> sentences (B, P)."""
        label_text = self._labels(logits / self._temperature, self._names)["sentence"]
        sentences = [tf.strings.join([before, label_text, after]) for before, after in self._around]
        return tf.stack(sentences, axis=1)


class ServedSeveralImages(Labelled):
    """The path from image bytes, or from a text, to several labels or none, as a SavedModel keeps it.

    Args:
        image_model: RGB images (B, H, H, 3) from 0 to 255 -> logits (B, C).
        image_size: side H of the images in pixels.
        max_pixels: of an encoded image; more are not decoded.
        sentences: what is read of these logits.
        text: sentences -> logits of the labels (B, C).
        temperature: calibrates those.
        thresholds: of their probabilities (C,).
        names: the labels, C of them.
    """

    def __init__(
        self,
        *,
        image_model: keras.Model,
        image_size: int,
        max_pixels: int,
        sentences: LabelSentences,
        text: TextClassifier,
        temperature: float,
        thresholds: np.ndarray,
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._image_model, self._text_model = Inference(image_model), Inference(text.model)
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._sentences, self._temperature = sentences, temperature
        self._labels = SeveralLabels(names, thresholds, [with_article(readable(name)) for name in names])
        self._image_size, self._max_pixels = image_size, max_pixels
        # What is built on an export asks it for these.
        self.image_side = tf.Variable(image_size, trainable=False, dtype=tf.int32)
        self.max_pixels = tf.Variable(max_pixels, trainable=False, dtype=tf.int64)

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> what `SeveralLabels` gives, and the sentences read (B,)."""
        images = pixels(image_bytes, self._image_size, self._max_pixels)
        return self._answer(self._sentences(self._image_model(images)))

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Texts (B,) -> the same."""
        return self._answer(text[:, None])

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {"serving_default": self.answer_images, "text": self.answer_texts, "labels": self.tell_labels}

    def _answer(self, sentences):
        rows = self._text_model(self._preprocessor(tf.reshape(sentences, [-1])))
        logits = tf.reshape(rows, [-1, sentences.shape[1], rows.shape[-1]])
        answer = self._labels(tf.reduce_mean(logits, axis=1) / self._temperature, self._names)
        return answer | {"read": tf.strings.reduce_join(sentences, axis=1, separator=" | ")}

"""The path from an image, or a text, to an answer, as a SavedModel keeps it."""

from typing import Any

import keras
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.data.decoding import MAX_PIXELS
from xmodal.export.serving import (
    IMAGE_BYTES,
    TEXT,
    Inference,
    Labelled,
    Tokenizer,
    has_image,
    has_text,
    labelled_answer,
    of_length_one,
    pixels,
    pixels_or_black,
)
from xmodal.tasks.text_classifier import TextClassifier


class ServedImages(Labelled):
    """The path from image bytes, or from a text, to an answer, as a SavedModel keeps it.

    Args:
        image_model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        image_size: side of the images in pixels.
        max_pixels: of an encoded image; more are not decoded.
        temperature: calibrates the image model's logits.
        bridge: probabilities (B, C) -> sentences (B, P).
        text: sentences -> logits of the target question (B, T).
        text_temperature: calibrates these.
        names: the answers, T of them.

    Example:
        >>> from xmodal.models.heads import text_classifier
        >>> backbone = image_backbone("VGG16", 32, ("block1_pool",), weights="none")
        >>> encoder = text_encoder("bert", sequence_length=16)
        >>> served = ServedImages(
        ...     image_model=keras.Model(backbone.input, keras.layers.Dense(2)(backbone.output)),
        ...     image_size=32,
        ...     temperature=1.0,
        ...     bridge=Bridge(("cat", "dog")),
        ...     text=TextClassifier(encoder, text_classifier(encoder.model, 2), None),
        ...     text_temperature=1.0,
        ...     names=("cat", "dog"),
        ... )
        >>> sorted(served.signatures())
        ['embed_image', 'embed_text', 'image_and_text', 'labels', 'serving_default', 'text']
    """

    def __init__(
        self,
        *,
        image_model: keras.Model,
        image_size: int,
        max_pixels: int = MAX_PIXELS,
        temperature: float,
        bridge: Bridge,
        text: TextClassifier,
        text_temperature: float,
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._image_model = Inference(image_model)
        self._image_size = image_size
        self._max_pixels = max_pixels
        # What is built on an export asks it for these.
        self.image_side = tf.Variable(image_size, trainable=False, dtype=tf.int32)
        self.max_pixels = tf.Variable(max_pixels, trainable=False, dtype=tf.int64)
        self._temperature = temperature
        self._bridge = bridge
        self._text_model = Inference(text.model)
        self._text_encoder = Inference(text.encoder.model)
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._text_temperature = text_temperature

    @tf.function(input_signature=[IMAGE_BYTES])
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, T) and the sentences read (B,)."""
        sentences = self._sentences(pixels(image_bytes, self._image_size, self._max_pixels))
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
        sentences = self._sentences(pixels_or_black(image_bytes, self._image_size, self._max_pixels))
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
        return {
            "embedding": self._embedded(
                self._sentences(pixels(image_bytes, self._image_size, self._max_pixels))
            )
        }

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
        return labelled_answer(logits / self._text_temperature, self._names)


def _in_one(sentences):
    return tf.strings.reduce_join(sentences, axis=1, separator=" | ")

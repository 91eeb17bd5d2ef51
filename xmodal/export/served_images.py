"""The path from an image, or a text, to an answer, as a SavedModel keeps it."""

from typing import Any

import keras
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.data.decoding import MAX_PIXELS
from xmodal.export.served_speaker import ServedSpeaker, SpeakerText
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
    or_black,
    pixels,
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
        said: what a speaker says beside the image model, and how it is read; None for nothing.
        temperature_of_both: calibrates what is read from both.

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
        said: SpeakerText | None = None,
        temperature_of_both: float = 1.0,
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
        self._speaker = ServedSpeaker(said) if said else None
        self._temperature_of_both = temperature_of_both

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def answer_images(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, T) and the sentences read (B,)."""
        logits, sentences = self._of_images(image_bytes)
        return labelled_answer(logits, self._names) | sentences

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, T)."""
        return labelled_answer(self._logits(text[:, None]), self._names)

    @tf.function(input_signature=[IMAGE_BYTES, TEXT], autograph=False)
    def answer_pairs(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> as `answer_images`, from both sides.

        The sides are two opinions, which a logarithmic pool with equal weights joins: the mean of their log
        probabilities (Genest and Zidek 1986, doi:10.1214/ss/1177013825). Without one of them it is the
        other; without both, all answers are equally probable.
        """
        of_images, sentences = self._of_images(or_black(image_bytes))
        there = tf.cast(tf.stack([has_image(image_bytes), has_text(text)], axis=1), tf.float32)
        logits = tf.stack([of_images, self._logits(text[:, None])], axis=1)
        # Log probabilities are logits less something that all answers share, which the softmax drops.
        summed = tf.reduce_sum(there[:, :, None] * logits, axis=1)
        answer = labelled_answer(
            summed / tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0), self._names
        )
        return answer | {
            name: tf.where(has_image(image_bytes), sentence, "") for name, sentence in sentences.items()
        }

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
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

    @tf.function(input_signature=[TEXT], autograph=False)
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

    def _of_images(self, image_bytes):
        """Calibrated logits (B, T) of encoded images, and the sentences that they were read from (B,)."""
        sentences = self._sentences(pixels(image_bytes, self._image_size, self._max_pixels))
        logits, read = self._logits(sentences), {"sentence": _in_one(sentences)}
        if self._speaker is None:
            return logits, read
        both, said = self._speaker(image_bytes, logits)
        return both / self._temperature_of_both, read | {"speaker_sentence": said}

    def _sentences(self, images):
        logits = self._image_model(images)
        return self._bridge.sentences(tf.nn.softmax(logits / self._temperature))

    def _logits(self, wordings):
        """Calibrated: the mean over P wordings of each example, (B, P) -> (B, T)."""
        return tf.reduce_mean(self._read(self._text_model, wordings), axis=1) / self._text_temperature

    def _embedded(self, wordings):
        """The mean direction of P wordings, (B, P) -> (B, D), as CLIP's prompt ensembles.

        Radford et al. 2021 (arXiv:2103.00020), section 3.1.4.
        """
        vectors = of_length_one(self._read(self._text_encoder, wordings))
        return of_length_one(tf.reduce_mean(vectors, axis=1))

    def _read(self, model, wordings):
        rows = model(self._preprocessor(tf.reshape(wordings, [-1])))
        return tf.reshape(rows, [-1, wordings.shape[1], rows.shape[-1]])


def _in_one(sentences):
    return tf.strings.reduce_join(sentences, axis=1, separator=" | ")

"""The path from an image, or a text, to an answer, as a SavedModel keeps it."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.bridge.class_names import readable, with_article
from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.decoding import MAX_PIXELS
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_limits import ServedLimits
from xmodal.export.served_speaker import ServedSpeaker, SpeakerText
from xmodal.export.served_why import image_maps, word_shares
from xmodal.export.serving import (
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
from xmodal.tasks.text_classifier import TextClassifier


class ServedImages(Labelled):
    """The path from image bytes, or from a text, to an answer, as a SavedModel keeps it.

    Args:
        image_model: RGB images (B, H, H, 3) from 0 to 255 -> logits (B, C).
        image_size: side H of the images in pixels, None for that of the model's input. Images of other sizes
            are resized.
        max_pixels: of an encoded image; more are not decoded.
        temperature: divides the image model's logits: `fit_temperature` finds the one that calibrates them.
        bridge: probabilities (B, C) -> sentences (B, P).
        text: sentences -> logits of the target question (B, T).
        text_temperature: divides these.
        names: the answers, T of them.
        speaker_text: what a speaker says beside the image model, and how it is read; None for nothing.
        temperature_of_both: calibrates what is read from both.
        limits: what is promised of the answers to images; None promises nothing.
        features_and_logits: images -> the features (B, D) that `limits` knows images by, and the logits of
            `image_model`.

    Raises:
        UserError: when the image model does not take RGB images, or gives other than C logits, or the text
            model other than T.

    Example:
        >>> image_model = keras.Sequential(
        ...     [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> encoder = text_encoder("bert", sequence_length=16)
        >>> text_model = keras.Model(encoder.model.input, keras.layers.Dense(3)(encoder.model.output))
        >>> served = ServedImages(
        ...     image_model=image_model,
        ...     bridge=Bridge(("cat", "dog")),
        ...     text=TextClassifier(encoder, text_model),
        ...     names=("purrs", "barks", "neither"),
        ... )
        >>> sorted(served.signatures())
        ['embed_image', 'embed_text', 'image_and_text', 'labels', 'serving_default', 'text', 'why_text']
    """

    # What it answers, and the name of that input.
    noun, input_name = "image", "image_bytes"

    def __init__(
        self,
        *,
        image_model: keras.Model,
        image_size: int | None = None,
        max_pixels: int = MAX_PIXELS,
        temperature: float = 1.0,
        bridge: Bridge,
        text: TextClassifier,
        text_temperature: float = 1.0,
        names: tuple[str, ...],
        speaker_text: SpeakerText | None = None,
        temperature_of_both: float = 1.0,
        limits: AnswerLimits | None = None,
        features_and_logits: keras.Model | None = None,
    ):
        super().__init__(names)
        image_size = image_size or image_model.input_shape[1]
        _check_images(image_model, image_size)
        _check_logits("image model", image_model, "classes of the bridge", bridge.class_names)
        _check_logits("text model", text.model, "names", names)
        # One pass gives both, where both are wanted.
        self._gives_features = features_and_logits is not None
        self._image_model = Inference(features_and_logits or image_model)
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
        self._speaker = ServedSpeaker(speaker_text) if speaker_text else None
        self._temperature_of_both = temperature_of_both
        self._maps = image_maps(image_model)
        self._words = word_shares(text.model, self._preprocessor)
        phrases = [with_article(readable(name)) for name in names]
        resembles = f"it {'sounds' if self.noun == 'sound' else 'looks'} most like"
        self._limits = ServedLimits(limits, phrases, resembles) if limits else None
        image_spec = tf.TensorSpec([None], tf.string, name=self.input_name)
        self.answer_images = tf.function(self._answer, input_signature=[image_spec], autograph=False)
        self.answer_pairs = tf.function(
            self._answer_both, input_signature=[image_spec, TEXT], autograph=False
        )
        self.embed_images = tf.function(self._embed, input_signature=[image_spec], autograph=False)
        if self._maps:
            self.explain_images = tf.function(self._explain, input_signature=[image_spec], autograph=False)
        if self._words:
            self.explain_texts = tf.function(self._explain_words, input_signature=[TEXT], autograph=False)

    def _answer(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, T) and the sentences read (B,).

        With limits also what `ServedLimits` tells.
        """
        logits, sentences, limits = self._of_images(image_bytes)
        return labelled_answer(logits, self._names) | sentences | limits

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Texts (B,) -> label, probability and probabilities (B, T)."""
        return labelled_answer(self._logits(text[:, None]), self._names)

    def _answer_both(self, image_bytes, text):
        """Encoded images and texts (B,), "" for none -> as `_answer`, from both sides.

        The sides are two opinions, which a logarithmic pool with equal weights joins: the mean of their log
        probabilities (Genest and Zidek 1986, doi:10.1214/ss/1177013825). Without one of them it is the
        other; without both, all answers are equally probable.
        """
        image_logits, sentences, _ = self._of_images(self._or_nothing(image_bytes))
        mask = tf.cast(tf.stack([has_image(image_bytes), has_text(text)], axis=1), tf.float32)
        logits = tf.stack([image_logits, self._logits(text[:, None])], axis=1)
        # Log probabilities are logits less something that all answers share, which the softmax drops.
        total = tf.reduce_sum(mask[:, :, None] * logits, axis=1)
        answer = labelled_answer(
            total / tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0), self._names
        )
        return answer | {
            name: tf.where(has_image(image_bytes), sentence, "") for name, sentence in sentences.items()
        }

    def _embed(self, image_bytes):
        """Encoded images (B,) -> "embedding" (B, D), that of the sentences that the bridge writes for them.

        Images and texts are in one space therefore, BERT's. An image is there where its sentences say it is:
        what they leave out of it is lost.
        """
        return {"embedding": self._embed_sentences(self._sentences(self._pixels(image_bytes)))}

    @tf.function(input_signature=[TEXT], autograph=False)
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, D), BERT's sentence vectors, of length 1."""
        return {"embedding": self._embed_sentences(text[:, None])}

    def _explain(self, image_bytes):
        """Encoded images (B,) -> "map" (B, h, w), where the network sees the class that it finds likeliest.

        An image that is answered with its mirror image has the map of the one as it is.
        """
        assert self._maps
        return {"map": self._maps(self._pixels(image_bytes))}

    def _explain_words(self, text):
        """Texts (B,) -> "words" (B, T), "shares" (B, T) and "difference" (B,), see `WordShares`."""
        assert self._words
        return self._words(text, lambda logits: tf.nn.softmax(logits / self._text_temperature))

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {
            **({"why": self.explain_images} if self._maps else {}),
            **({"why_text": self.explain_texts} if self._words else {}),
            "serving_default": self.answer_images,
            "text": self.answer_texts,
            f"{self.noun}_and_text": self.answer_pairs,
            f"embed_{self.noun}": self.embed_images,
            "embed_text": self.embed_texts,
            "labels": self.tell_labels,
        }

    def _of_images(self, image_bytes):
        """Calibrated logits (B, T) of encoded images, the sentences read of them, and what limits tell."""
        features, class_logits = self._classify(self._pixels(image_bytes))
        sentences = self._bridge.sentences(tf.nn.softmax(class_logits / self._temperature))
        logits, texts = self._logits(sentences), {"sentence": _in_one(sentences)}
        rows, temperature = {"features": features}, self._text_temperature
        if self._speaker is not None:
            logits, texts["speaker_sentence"], rows["names"] = self._speaker(image_bytes, logits)
            temperature = self._temperature_of_both
            logits /= temperature
        if self._limits is None:
            return logits, texts, {}
        # As they were before they were calibrated.
        raw_logits = temperature * logits
        return logits, texts, self._limits(self._names, raw_logits, class_logits, rows, class_logits)

    def _classify(self, images):
        """Features (B, D) of images, None where nothing asks for them, and logits (B, C)."""
        outputs = self._image_model(images)
        return outputs if self._gives_features else (None, outputs)

    def _pixels(self, image_bytes):
        return pixels(image_bytes, self._image_size, self._max_pixels)

    def _or_nothing(self, image_bytes):
        return or_black(image_bytes)

    def _sentences(self, images):
        _, logits = self._classify(images)
        return self._bridge.sentences(tf.nn.softmax(logits / self._temperature))

    def _logits(self, sentences):
        """Calibrated: the mean over P wordings of each example, (B, P) -> (B, T)."""
        return tf.reduce_mean(self._read(self._text_model, sentences), axis=1) / self._text_temperature

    def _embed_sentences(self, sentences):
        """The mean direction of P wordings, (B, P) -> (B, D), as CLIP's prompt ensembles.

        Radford et al. 2021 (arXiv:2103.00020), section 3.1.4.
        """
        vectors = unit_vectors(self._read(self._text_encoder, sentences))
        return unit_vectors(tf.reduce_mean(vectors, axis=1))

    def _read(self, model, sentences):
        rows = model(self._preprocessor(tf.reshape(sentences, [-1])))
        return tf.reshape(rows, [-1, sentences.shape[1], rows.shape[-1]])


def _check_images(model: keras.Model, image_size: int | None) -> None:
    if image_size is None or model.input_shape[-1] != 3:
        raise UserError(
            f"the image model takes {model.input_shape}, and an export gives it RGB images (B, H, H, 3)",
            "put a layer before it that makes its input of these, or give `image_size`",
        )


def _check_logits(model_name: str, model: keras.Model, names_name: str, names: Sequence[str]) -> None:
    if model.output_shape[-1] != len(names):
        raise UserError(
            f"the {model_name} gives {model.output_shape[-1]} logits, and there are {len(names)} {names_name}"
            f" ({first_few(names)})",
            "give a model and names of the same classes, in the same order",
        )


def _in_one(sentences):
    return tf.strings.reduce_join(sentences, axis=1, separator=" | ")

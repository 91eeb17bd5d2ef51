"""A speaker and a text encoder as a SavedModel: the answers are given when it is asked."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.adaptation import LinearMap
from xmodal.bridge.class_names import readable, with_article
from xmodal.bridge.concepts import Bottleneck
from xmodal.bridge.name_answers import SCALE
from xmodal.export.serving import (
    IMAGE_BYTES,
    TEXT,
    Inference,
    Labelled,
    Tokenizer,
    labelled_answer,
    pixels,
    read_images,
    unit_vectors,
)
from xmodal.models.speakers import Speaker
from xmodal.models.text_encoder import TextEncoder

ANSWERS = tf.TensorSpec([None], tf.string, name="answers")

# The names that a sentence has.
NAMES_SHOWN = 3


class ServedNames(Labelled):
    """The path from image bytes and answers in words to probabilities, as a SavedModel keeps it.

    ConSE (Norouzi et al. 2014, arXiv:1312.5650) with sentence vectors: an image is where the vectors of the
    speaker's names are, weighted by its probabilities; the answer is the one whose vector is nearest.

    Args:
        speaker: the classifier.
        encoder: reads names and answers.
        texts: what each of the speaker's names says, see `xmodal.bridge.names_text.names_text`.
        temperature: calibrates the speaker's logits.
        scale: makes logits of cosines.
        vectors: of these texts (N, D), where the encoder has read them already.
        fixed: what answers the question of the run, and no other, by signature.
    """

    def __init__(
        self,
        speaker: Speaker,
        encoder: TextEncoder,
        texts: Sequence[str],
        *,
        temperature: float = 1.0,
        scale: float = SCALE,
        vectors: np.ndarray | None = None,
        fixed: Mapping[str, "FixedAnswers"] = MappingProxyType({}),
    ):
        super().__init__(speaker.class_names)
        if len(texts) != len(speaker.class_names):
            raise ValueError(f"texts must be one for each name. Received: {len(texts)}")
        self._speaker = Inference(speaker.model)
        self._resources = list(speaker.resources)
        self._read = speaker.read
        self._size = speaker.image_size
        self._encoder = Inference(encoder.model)
        self._tokenizer = Tokenizer(encoder.preprocessor)
        self._temperature = temperature
        self._shown = min(NAMES_SHOWN, len(texts))
        self._phrases = tf.constant([with_article(readable(name)) for name in speaker.class_names])
        # What is built on an export asks it for these.
        self.scale = tf.Variable(scale, trainable=False, dtype=tf.float32)
        self.image_side = tf.Variable(speaker.image_size[0], trainable=False, dtype=tf.int32)
        self.max_pixels = tf.Variable(speaker.max_pixels, trainable=False, dtype=tf.int64)
        if vectors is None:
            vectors = encoder.model.predict(encoder.padded(texts), batch_size=64, verbose=0)
        self._vectors = tf.Variable(unit_vectors(np.asarray(vectors)), trainable=False)
        self._fixed = dict(fixed)

    @tf.function(input_signature=[IMAGE_BYTES, ANSWERS], autograph=False)
    def ask(self, image_bytes, answers):
        """Encoded images (B,), answers (C,) -> label, probability, probabilities (B, C), and what was said.

        An answer is read as it is given: "a photo of a dog" suits the texts of names, "dog" does nearly.
        """
        probabilities = self._probabilities(image_bytes)
        cosines = tf.matmul(self._mix(probabilities), self._embed(answers), transpose_b=True)
        return labelled_answer(self.scale * cosines, answers) | self._speaker_outputs(probabilities)

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def speak(self, image_bytes):
        """Encoded images (B,) -> the name that is most probable, all probabilities, "embedding" (B, D)."""
        probabilities = self._probabilities(image_bytes)
        return (
            labelled_answer(tf.math.log(probabilities), self._names)
            | self._speaker_outputs(probabilities)
            | {"embedding": self._mix(probabilities)}
        )

    @tf.function(input_signature=[TEXT], autograph=False)
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, D), sentence vectors of length 1, in the space of the mixtures."""
        return {"embedding": self._embed(text)}

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {name: part.answer for name, part in self._fixed.items()} | {
            "serving_default": self.ask,
            "ask": self.ask,
            "speak": self.speak,
            "embed_text": self.embed_texts,
            "labels": self.tell_labels,
        }

    def _probabilities(self, image_bytes):
        images = read_images(image_bytes, self._read, self._size)
        return tf.nn.softmax(self._speaker(images) / self._temperature)

    def _mix(self, probabilities):
        return unit_vectors(tf.matmul(probabilities, self._vectors))

    def _embed(self, texts):
        return unit_vectors(self._encoder(self._tokenizer(texts)))

    def _speaker_outputs(self, probabilities):
        """The names that the speaker gives most weight (B, K), the weights, and a sentence of both (B,)."""
        weights, indices = tf.math.top_k(probabilities, self._shown)
        percent = tf.strings.as_string(tf.cast(tf.round(100 * weights), tf.int32))
        parts = tf.strings.join([tf.gather(self._phrases, indices), " (", percent, "%)"])
        return {
            "names": tf.gather(self._names, indices),
            "weights": weights,
            "sentence": tf.strings.reduce_join(parts, axis=1, separator=", "),
        }


class FixedAnswers(tf.Module):
    """Answers one question: encoded images (B,) -> label, probability, probabilities (B, C)."""

    answer: Callable[[tf.Tensor], dict[str, tf.Tensor]]


class ServedAdapted(FixedAnswers):
    """Answers that were learned from images without labels.

    Args:
        speaker: gives the features.
        answers: the C answers.
        reader: features (B, D) -> logits (B, C).
        student: RGB images (B, H, H, 3) -> logits (B, C), which answers with `reader`; None for none.
    """

    def __init__(
        self, speaker: Speaker, answers: Sequence[str], reader: LinearMap, student: keras.Model | None
    ):
        super().__init__()
        self._features = Inference(speaker.features)
        self._resources = list(speaker.resources)
        self._read, self._size, self._max_pixels = speaker.read, speaker.image_size, speaker.max_pixels
        self._answers = tf.constant(answers)
        arrays = reader.weights, reader.bias
        self._reader = [tf.Variable(array, trainable=False, dtype=tf.float32) for array in arrays]
        self._student = Inference(student) if student else None
        self._side = student.input.shape[1] if student else 0

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def answer(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, C)."""
        weights, bias = self._reader
        features = self._features(read_images(image_bytes, self._read, self._size))
        logits = tf.matmul(features, weights) + bias
        if self._student:
            logits = (logits + self._student(pixels(image_bytes, self._side, self._max_pixels))) / 2
        return labelled_answer(logits, self._answers)


class ServedConcepts(FixedAnswers):
    """Answers by way of concepts.

    Args:
        speaker: gives the features.
        bottleneck: from these to scores of concepts, and to answers.
    """

    def __init__(self, speaker: Speaker, bottleneck: Bottleneck):
        super().__init__()
        head = bottleneck.head
        self._features = Inference(speaker.features)
        self._resources = list(speaker.resources)
        self._read, self._size = speaker.read, speaker.image_size
        self._concepts, self._answers = tf.constant(head.concepts), tf.constant(head.answers)
        # In standard deviations.
        scores = bottleneck.weights / head.scale, (bottleneck.bias - head.mean) / head.scale
        arrays = *scores, head.weights, head.bias
        self._variables = [tf.Variable(array, trainable=False, dtype=tf.float32) for array in arrays]

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def answer(self, image_bytes):
        """Encoded images (B,) -> label, probability, probabilities (B, C), and which concepts spoke for it.

        "scores" (B, K) has all concepts, in standard deviations.
        """
        to_scores, scores_bias, to_logits, logits_bias = self._variables
        features = self._features(read_images(image_bytes, self._read, self._size))
        scores = tf.matmul(features, to_scores) + scores_bias
        logits = tf.matmul(scores, to_logits) + logits_bias
        contributions = scores * tf.gather(tf.transpose(to_logits), tf.argmax(logits, axis=1))
        top_concepts = tf.math.top_k(contributions, min(NAMES_SHOWN, contributions.shape[1])).indices
        return labelled_answer(logits, self._answers) | {
            "concepts": tf.gather(self._concepts, top_concepts),
            "scores": scores,
        }

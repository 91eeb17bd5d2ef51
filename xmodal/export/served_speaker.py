"""What a ready classifier says of images in its own names, as an export keeps it."""

from dataclasses import dataclass

import tensorflow as tf

from xmodal.bridge.adaptation import LinearMap
from xmodal.bridge.bridge import Bridge
from xmodal.evaluation.calibration import FLOOR
from xmodal.export.serving import Inference, read_images
from xmodal.models.speakers import Speaker


@dataclass(frozen=True)
class SpeakerText:
    """What a speaker says of images, and how answers are read from it.

    Attributes:
        speaker: the classifier, N names.
        bridge: its probabilities -> a sentence.
        temperature: softens its logits before answers are read.
        head: probabilities of the names (B, N) -> scores of the answers (B, T).
        score_temperature: calibrates these.
        text_weight: the share, 0 to 1, of what is read from the network's own sentence beside it.
    """

    speaker: Speaker
    bridge: Bridge
    temperature: float
    head: LinearMap
    score_temperature: float
    text_weight: float


class ServedSpeaker(tf.Module):
    """Reads answers from what a speaker says of images.

    Args:
        speaker_text: the speaker, and how it is read.
    """

    def __init__(self, speaker_text: SpeakerText):
        super().__init__()
        self._model = Inference(speaker_text.speaker.model)
        self._resources = list(speaker_text.speaker.resources)
        self._read, self._size = speaker_text.speaker.read, speaker_text.speaker.image_size
        self._bridge, self._temperature = speaker_text.bridge, speaker_text.temperature
        self._weights = tf.Variable(speaker_text.head.weights, trainable=False, dtype=tf.float32)
        self._bias = tf.Variable(speaker_text.head.bias, trainable=False, dtype=tf.float32)
        self._score_temperature, self._text_weight = speaker_text.score_temperature, speaker_text.text_weight

    def __call__(self, image_bytes, text_logits):
        """Encoded images (B,), calibrated logits of text (B, T) -> those of both, sentences and rows.

        The rows (B, N) are the square roots of the names' probabilities, whose directions `KnownInputs`
        compares: their cosine is the Bhattacharyya coefficient of two images.
        """
        logits = self._model(read_images(image_bytes, self._read, self._size))
        shares = tf.nn.softmax(logits / self._temperature)
        scores = tf.matmul(shares, self._weights) + self._bias
        weight = self._text_weight
        joint_logits = weight * _logs(text_logits) + (1 - weight) * _logs(scores / self._score_temperature)
        return joint_logits, self._bridge.sentences(tf.nn.softmax(logits))[:, 0], tf.sqrt(shares)


def _logs(logits):
    """The log probabilities, as `evaluation.calibration.mix` takes them."""
    return tf.math.log(tf.maximum(tf.nn.softmax(logits), FLOOR))

"""A space that images and texts share, learned by contrast."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge.captions import Captions, draw_captions
from xmodal.config.image import ImageConfig
from xmodal.data.batches import array_batches
from xmodal.models.text_encoder import TextEncoder
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer

HIDDEN = 256


@keras.saving.register_keras_serializable("xmodal")
class Scaled(keras.layers.Layer):
    """Vectors (B, E) times a learned factor, which is kept as its logarithm (Radford et al. 2021, 2.3)."""

    def __init__(self, start: float, **kwargs):
        super().__init__(**kwargs)
        self._start = start

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"start": self._start}

    def build(self, input_shape):
        """Makes the factor."""
        self.log_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(np.log(self._start)), name="log_scale"
        )

    def call(self, vectors):
        return vectors * keras.ops.cast(keras.ops.exp(self.log_scale), vectors.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


@dataclass(frozen=True)
class SharedSpace:
    """Two ways into one space, in which cosines say what belongs together.

    Attributes:
        image_head: features of images (B, D) -> unit vectors (B, E).
        text_head: BERT's sentence vectors (B, N) -> unit vectors (B, E).
        scale: what cosines are multiplied by to be logits.
        history: of the training.
    """

    image_head: keras.Model
    text_head: keras.Model
    scale: float
    history: History


def contrastive_loss(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Returns the loss (B,), in nats, of pairs of an image and a text that are in one batch.

    Every image of a class belongs to every text of that class, and only those of other classes are
    negatives: with few classes a batch repeats each, and the plain contrastive loss would push apart what
    is alike. It is the mean of both directions of UniCL (Yang et al. 2022, arXiv:2204.03610, equations 2
    and 3), each the cross entropy with a target that all texts (images) of the class share equally.
    Several devices contrast within their own share of a batch.

    Args:
        labels: the class of each pair (B,).
        outputs: (B, 2 E), the scaled unit vector of the image beside the unit vector of the text.
    """
    images, texts = tf.split(outputs, 2, axis=1)
    scores = tf.matmul(images, texts, transpose_b=True)
    same_class = tf.cast(labels[:, None] == labels[None, :], scores.dtype)
    targets = same_class / tf.reduce_sum(same_class, axis=1, keepdims=True)

    def direction(logits):
        return tf.nn.softmax_cross_entropy_with_logits(targets, logits)

    # The targets are symmetric: an image shares its texts with the other images of its class.
    return (direction(scores) + direction(tf.transpose(scores))) / 2


def train_shared_space(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    vectors: np.ndarray,
    captions: Captions,
    config: ImageConfig,
    trainer: Trainer,
    *,
    width: int,
    scale: float,
    name: str = "shared space",
) -> SharedSpace:
    """Trains a head on kept features of images, and one on sentence vectors, to meet in one space.

    In each epoch every image meets another caption of its class.

    Args:
        train: features (N, D) of the training images, and their classes (N,).
        validation: those of the validation images, which training stops by.
        vectors: BERT's sentence vectors of the captions (M, D').
        captions: what is said of the classes, M texts.
        config: head_epochs and head_learning_rate.
        trainer: trains it; its seed is that of initial weights, orders and captions, and its config has the
            batch, the dropout and the patience.
        width: dimension E of the space.
        scale: where the factor of the cosines starts.
        name: what progress, history and checkpoints call it.
    """
    classes, seed = int(captions.labels.max()) + 1, trainer.seed
    with trainer.scope():
        image_head = projection(train[0], width, dropout=trainer.config.dropout, name="image")
        text_head = projection(vectors, width, dropout=trainer.config.dropout, name="text")
        factor = Scaled(scale, dtype="float32", name="scale")
        inputs = {"image": image_head.input, "text": text_head.input}
        pairs = keras.layers.Concatenate(dtype="float32")([factor(image_head.output), text_head.output])
        model = keras.Model(inputs, pairs, name="shared_space")

    def batches(images: np.ndarray, labels: np.ndarray, draw: tuple[int, int], **options) -> tf.data.Dataset:
        caption = draw_captions(captions, labels, classes, draw)
        size = 2 * trainer.config.batch_size
        return array_batches({"image": images, "text": vectors[caption]}, labels, batch_size=size, **options)

    history = trainer.fit(
        model,
        lambda epoch: batches(*train, (seed, epoch), shuffle_seed=(seed, epoch)),
        loss=contrastive_loss,
        learning_rate=config.head_learning_rate,
        epochs=config.head_epochs,
        validation=batches(*validation, (seed, config.head_epochs), shuffle_seed=(seed,)),
        name=name,
        report_accuracy=False,
    )
    return SharedSpace(image_head, text_head, float(np.exp(factor.log_scale.numpy())), history)


def projection(sample: np.ndarray, width: int, *, dropout: float, name: str) -> keras.Model:
    """Builds a head: vectors (B, D), standardised by a sample of them (N, D) -> unit vectors (B, width)."""
    variance = sample.var(axis=0)
    # As in `heads.image_head`: a rare feature must not drown the others.
    floor = np.median(variance[variance > 0]) if variance.any() else 1.0
    inputs = keras.Input((sample.shape[1],), name=name)
    vectors = keras.layers.Normalization(mean=sample.mean(axis=0), variance=np.maximum(variance, floor))(
        inputs
    )
    vectors = keras.layers.Dropout(dropout)(vectors)
    vectors = keras.layers.Dense(HIDDEN, activation="relu")(vectors)
    vectors = keras.layers.Dropout(dropout)(vectors)
    vectors = keras.layers.Dense(width)(vectors)
    # In half precision close cosines would be ties.
    vectors = keras.layers.UnitNormalization(dtype="float32")(vectors)
    return keras.Model(inputs, vectors, name=f"{name}_projection")


def sentence_vectors(encoder: TextEncoder, texts: np.ndarray, trainer: Trainer) -> np.ndarray:
    """Returns BERT's vectors of texts (M, D)."""
    tokens = encoder.padded(texts)
    return trainer.predict(encoder.model, array_batches(tokens, batch_size=64))


def project(head: keras.Model, vectors: np.ndarray, trainer: Trainer) -> np.ndarray:
    """Returns what a head makes of vectors (N, D): unit vectors (N, E)."""
    return trainer.predict(head, array_batches(vectors, batch_size=1024))

"""What stands on an encoder: classification heads and the scorer s(x, c)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from xmodal.data.rows import ArrayShards


def image_head(
    features: np.ndarray | ArrayShards | int,
    classes: int,
    *,
    hidden: int,
    dropout: float,
    name: str = "image_head",
) -> keras.Model:
    """Builds the head that reads pooled features.

    The features are standardised, because blocks of one trunk differ in scale by orders of magnitude: by
    their statistics over a sample, or batch by batch where the trunk is new and its features are still to
    change by orders of magnitude too.

    Args:
        features: a sample of the trunk's outputs (N, D), or D for batch normalisation.
        classes: the number of classes C.
        hidden: units of a hidden layer, 0 for a linear head.
        dropout: the rate before each dense layer.

    Returns:
        A model: features (B, D) -> logits (B, C).
    """
    if isinstance(features, int):
        layers = [keras.Input((features,)), keras.layers.BatchNormalization(name="standardise")]
    else:
        layers = [keras.Input((features.shape[1],)), standardisation(features)]
    if hidden:
        layers += [keras.layers.Dropout(dropout), keras.layers.Dense(hidden, activation="relu")]
    layers += [keras.layers.Dropout(dropout), logits(classes)]
    return keras.Sequential(layers, name=name)


def standardisation(
    features: np.ndarray | ArrayShards, name: str | None = None
) -> keras.layers.Normalization:
    """Returns what standardises features by their statistics over a sample (N, ..., D)."""
    rows = features if isinstance(features, ArrayShards) else ArrayShards([features])
    mean = _mean(rows, lambda block: block)
    variance = _mean(rows, lambda block: np.square(block - mean))
    # Most features of a trunk are rare: divided by their own small deviation, one that fires on a new
    # image would drown the others.
    floor = np.median(variance[variance > 0]) if variance.any() else 1.0
    return keras.layers.Normalization(mean=mean, variance=np.maximum(variance, floor), name=name)


def _mean(rows: ArrayShards, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns the mean over all axes of a function of rows but the last (D,)."""
    width = rows.shape[-1]
    total = sum(function(block.reshape(-1, width)).sum(axis=0, dtype=np.float64) for block in rows.blocks())
    return (total / math.prod(rows.shape[:-1])).astype(np.float32)


def text_classifier(
    encoder: keras.Model, classes: int, *, dropout: float = 0.1, name: str = "text_classifier"
) -> keras.Model:
    """Puts a classification head on a sentence encoder: its inputs -> logits (B, C)."""
    vectors = keras.layers.Dropout(dropout)(encoder.output)
    return keras.Model(encoder.input, logits(classes)(vectors), name=name)


def logits(classes: int) -> keras.layers.Dense:
    """Returns the layer that ends a classifier: features (B, D) -> logits (B, C), in float32 always.

    In half precision two classes may have equal logits whose probabilities differ by several percent.
    """
    return keras.layers.Dense(classes, dtype="float32", name="logits")


@keras.saving.register_keras_serializable("xmodal")
class Similarity(keras.layers.Layer):
    """The scorer s(x, c): scaled cosines between encoded inputs and encoded class descriptions.

    P(c|x) = exp(s(x, c)) / sum over c' of exp(s(x, c')). A class with several descriptions has the
    sum of their probabilities.

    Args:
        descriptions: encoded descriptions (M, D).
        targets: the class of each (M,), from 0 to C - 1, every class at least once.
        scale: what the cosine is multiplied by.
    """

    def __init__(self, descriptions: np.ndarray, targets: np.ndarray, scale: float, **kwargs):
        super().__init__(**kwargs)
        classes = np.arange(np.max(targets) + 1)
        missing_classes = np.setdiff1d(classes, targets)
        if len(missing_classes):
            raise ValueError(
                f"every class needs a description. Received none for: {missing_classes.tolist()}"
            )
        self._descriptions = np.asarray(descriptions, np.float32)
        self._targets = np.asarray(targets)
        unit = self._descriptions / np.linalg.norm(self._descriptions, axis=1, keepdims=True)
        self._scale = scale
        self._directions = unit.T.astype(np.float32)
        # Added to scores (B, 1, M): keeps a description for its own class (C, M) only.
        self._mask = np.where(classes[:, None] == self._targets[None, :], 0.0, -np.inf).astype(np.float32)

    def get_config(self):
        """Returns the arguments, arrays as lists.

        They are no weights: weights are what a layer can take over from one with other descriptions.
        """
        arrays = {"descriptions": self._descriptions.tolist(), "targets": self._targets.tolist()}
        return super().get_config() | arrays | {"scale": self._scale}

    def call(self, x):
        """Encoded inputs (B, D) -> logits (B, C)."""
        return self._scores(x, self._scale)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._mask.shape[0])

    def _scores(self, x, scale):
        scores = keras.ops.matmul(scale * keras.ops.normalize(x), self._directions)
        return keras.ops.logsumexp(scores[:, None, :] + self._mask, axis=-1)


@keras.saving.register_keras_serializable("xmodal")
class Scorer(Similarity):
    """The scorer s(x, c) that learns: inputs are projected into the space of the descriptions' vectors.

    s(x, c) = scale * cos(W x, d_c), where W (E, D) and the scale are weights. They do not depend on the
    classes: a scorer with other descriptions, for inputs of another modality with E numbers each, can
    take them over. The scale is kept as its logarithm (Radford et al. 2021, arXiv:2103.00020, section 2.3).

    Args:
        descriptions: encoded descriptions (M, D).
        targets: the class of each (M,), from 0 to C - 1, every class at least once.
        scale: what the cosine is multiplied by at the start.
    """

    def __init__(
        self, descriptions: np.ndarray, targets: np.ndarray, scale: float, dtype="float32", **kwargs
    ):
        # Cosines in half precision would make ties of close classes.
        super().__init__(descriptions, targets, scale, dtype=dtype, **kwargs)

    def build(self, input_shape):
        """Makes the weights for inputs (B, E)."""
        self.projection = self.add_weight(
            shape=(input_shape[-1], self._directions.shape[0]),
            initializer="glorot_uniform",
            name="projection",
        )
        self.log_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(np.log(self._scale)), name="log_scale"
        )

    def call(self, x):
        """Encoded inputs (B, E) -> logits (B, C)."""
        return self._scores(keras.ops.matmul(x, self.projection), keras.ops.exp(self.log_scale))


def scored_classifier(
    encoder: keras.Model, descriptions: np.ndarray, targets: np.ndarray, *, scale: float
) -> keras.Model:
    """Puts the dense layers of LeNet-5 and the scorer on an encoder of any modality.

    Whatever the encoder, the layers `dense_84` and `scorer` have the same shapes, and so can move.

    Args:
        encoder: inputs -> features (B, D).
        descriptions: encoded descriptions of the classes (M, N).
        targets: the class of each description (M,), as `Scorer` takes them.
        scale: where the scorer's scale starts.

    Returns:
        A flat model: the encoder's inputs -> logits (B, C).
    """
    vectors = encoder.output
    for units in (120, 84):
        vectors = keras.layers.Dense(units, activation="relu", name=f"dense_{units}")(vectors)
    logits = Scorer(descriptions, targets, scale, name="scorer")(vectors)
    return keras.Model(encoder.input, logits, name=f"scored_{encoder.name}")


def with_descriptions(model: keras.Model, descriptions: np.ndarray, targets: np.ndarray) -> keras.Model:
    """Returns a model that scores other classes, with the weights of one from `scored_classifier`.

    Args:
        model: inputs -> logits of the classes that it learned.
        descriptions, targets: of the other classes, as `Scorer` takes them.
    """
    learned_scorer = model.get_layer("scorer")
    scorer = Scorer(descriptions, targets, 1.0, name="scorer")
    new_model = keras.Model(model.input, scorer(learned_scorer.input), name=model.name)
    scorer.set_weights(learned_scorer.get_weights())
    return new_model


@dataclass(frozen=True)
class ClassTexts:
    """What classes are called and about, encoded.

    Attributes:
        vectors: (M, N), one for each text.
        targets: the class of each (M,), every class at least once.
    """

    vectors: np.ndarray
    targets: np.ndarray

    def take(self, classes: np.ndarray) -> "ClassTexts":
        """Returns the texts of some classes (K,), whose new numbers are their places among these."""
        index = np.full(self.targets.max() + 1, -1)
        index[classes] = np.arange(len(classes))
        targets = index[self.targets]
        return ClassTexts(self.vectors[targets >= 0], targets[targets >= 0])

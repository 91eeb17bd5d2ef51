"""Models that read an image and a text together, either of which may be missing, up to the scorer s(x, c).

What they take, by name: "image" (B, D) the pooled features of a trunk, "regions" (B, R, F) one of its maps,
"text" (B, E) a sentence vector, "tokens" (B, T, E) the vectors of its tokens, "token_mask" (B, T), and
"has_image" and "has_text" (B,), 1.0 for a side that is there and 0.0 for one that is missing, whose numbers
then do not count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from xmodal.models.heads import ClassTexts, Scorer, standardising
from xmodal.models.text_encoder import MeanPool

HEADS = 4
# What each model reads.
INPUTS = {
    "image_only": ("image",),
    "text_only": ("text",),
    "fused_early": ("image", "text", "has_image", "has_text"),
    "fused_late": ("image", "text", "has_image", "has_text"),
    "fused_gated": ("image", "text", "has_image", "has_text"),
    "fused_attention": ("image", "regions", "tokens", "token_mask", "has_image", "has_text"),
}
FAR_BELOW = -1e9


@dataclass(frozen=True)
class FusionSettings:
    """What all models on the same encoders have in common.

    Attributes:
        samples: name of an input -> some of what it will be (N, ..., D), for its shape and its statistics.
        texts: what the classes are called, encoded.
        units: of each hidden layer.
        dropout: the rate before each.
        scale: where the scorer's scale starts.
    """

    samples: dict[str, np.ndarray]
    texts: ClassTexts
    units: int
    dropout: float
    scale: float


@keras.saving.register_keras_serializable("xmodal")
class Placeholder(keras.layers.Layer):
    """Vectors (B, ..., D), and one that is learned (D,) in the place of those of a missing side."""

    def build(self, vectors_shape, present_shape):
        """Makes the vector."""
        self.vector = self.add_weight(shape=(vectors_shape[-1],), initializer="glorot_uniform", name="vector")

    def call(self, vectors, present):
        there = keras.ops.reshape(present > 0.5, (-1,) + (1,) * (len(vectors.shape) - 1))
        return keras.ops.where(there, vectors, keras.ops.cast(self.vector, vectors.dtype))

    def compute_output_shape(self, vectors_shape, present_shape):
        return vectors_shape


@keras.saving.register_keras_serializable("xmodal")
class Positions(keras.layers.Layer):
    """Adds a learned vector to each of the R regions of (B, R, D): where in the picture it is."""

    def build(self, shape):
        """Makes the vectors."""
        self.vectors = self.add_weight(shape=shape[1:], initializer="zeros", name="vectors")

    def call(self, regions):
        return regions + keras.ops.cast(self.vectors, regions.dtype)


@keras.saving.register_keras_serializable("xmodal")
class Gate(keras.layers.Layer):
    """Scores of the two sides (B, 2) -> their weights (B, 2), which sum to 1; a missing side has none."""

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, scores, has_image, has_text):
        there = keras.ops.stack([has_image, has_text], axis=1)
        return keras.ops.softmax(scores + (1 - there) * FAR_BELOW)

    def compute_output_shape(self, scores_shape, has_image_shape, has_text_shape):
        return scores_shape


@keras.saving.register_keras_serializable("xmodal")
class LateSum(keras.layers.Layer):
    """log P(c|image) + log P(c|text) - log P(c), each side calibrated; without a side, the other alone.

    By Bayes' rule these are the log probabilities given both, up to a constant, where image and text are
    independent within a class.

    Args:
        temperatures: of the image's logits and of the text's.
        prior: P(c), (C,).
    """

    def __init__(self, temperatures: Sequence[float], prior: np.ndarray, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self._temperatures = tuple(map(float, temperatures))
        self._prior = np.asarray(prior, np.float64)
        self._log_prior = np.log(self._prior).astype(np.float32)

    def get_config(self):
        """Returns the arguments, the array as a list."""
        arguments = {"temperatures": self._temperatures, "prior": self._prior.tolist()}
        return super().get_config() | arguments

    def call(self, image_logits, text_logits, has_image, has_text):
        scores = keras.ops.zeros_like(image_logits) + self._log_prior
        sides = ((image_logits, has_image), (text_logits, has_text))
        for (logits, there), temperature in zip(sides, self._temperatures, strict=True):
            evidence = keras.ops.log_softmax(logits / temperature) - self._log_prior
            scores += keras.ops.expand_dims(there, 1) * evidence
        return scores

    def compute_output_shape(self, image_logits_shape, text_logits_shape, has_image_shape, has_text_shape):
        return image_logits_shape


def trained_model(name: str, settings: FusionSettings) -> keras.Model:
    """Builds a model that is to be trained.

    Args:
        name: a key of `INPUTS` but "fused_late", which `late_model` makes.
        settings: what it reads and how large it is.

    Returns:
        A model: a dict of its `INPUTS` -> logits (B, C).
    """
    inputs = _inputs(name, settings)
    build: Callable = {
        "image_only": lambda: _side("image", inputs, settings),
        "text_only": lambda: _side("text", inputs, settings),
        "fused_early": lambda: _early(inputs, settings),
        "fused_gated": lambda: _gated(inputs, settings),
        "fused_attention": lambda: _attention(inputs, settings),
    }[name]
    scorer = Scorer(settings.texts.vectors, settings.texts.targets, settings.scale, name="scorer")
    return keras.Model(inputs, scorer(build()), name=name)


def late_model(
    image_only: keras.Model, text_only: keras.Model, temperatures: tuple[float, float], prior: np.ndarray
) -> keras.Model:
    """Builds the sum of the calibrated scores of two models, for which nothing is trained.

    Args:
        image_only, text_only: as `trained_model` builds them.
        temperatures: of each, fitted on examples that it was not trained on.
        prior: the share of each class (C,), all above 0.

    Returns:
        A model: a dict of the `INPUTS` of "fused_late" -> log probabilities (B, C), up to a constant.
    """
    flags = {name: keras.Input((), name=name) for name in ("has_image", "has_text")}
    inputs = {
        name: keras.Input(model.input[name].shape[1:], name=name)
        for name, model in (("image", image_only), ("text", text_only))
    }
    logits = [model({name: inputs[name]}) for name, model in (("image", image_only), ("text", text_only))]
    scores = LateSum(temperatures, prior, name="sum")(*logits, *flags.values())
    return keras.Model({**inputs, **flags}, scores, name="fused_late")


def gate_model(gated: keras.Model) -> keras.Model:
    """Returns what gives the weights (B, 2) of image and text in a "fused_gated" model."""
    return keras.Model(gated.input, gated.get_layer("gate").output, name="gate")


def _inputs(name: str, settings: FusionSettings) -> dict[str, keras.KerasTensor]:
    shapes = {part: sample.shape[1:] for part, sample in settings.samples.items()}
    # Texts of one batch are as long as the longest of them.
    shapes |= {"tokens": (None, *shapes["text"]), "token_mask": (None,), "has_image": (), "has_text": ()}
    return {part: keras.Input(shapes[part], name=part) for part in INPUTS[name]}


def _side(name: str, inputs, settings: FusionSettings) -> keras.KerasTensor:
    """Pooled features of one side (B, D) -> hidden ones (B, units)."""
    vectors = standardising(settings.samples[name], name=f"{name}_standardised")(inputs[name])
    vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name=f"{name}_side")(vectors)


def _both_sides(inputs, settings: FusionSettings) -> list[keras.KerasTensor]:
    return [
        Placeholder(name=f"no_{name}")(_side(name, inputs, settings), inputs[f"has_{name}"])
        for name in ("image", "text")
    ]


def _joined(parts: list[keras.KerasTensor], settings: FusionSettings) -> keras.KerasTensor:
    vectors = keras.layers.Concatenate(name="joined")(parts)
    vectors = keras.layers.Dropout(settings.dropout, name="joined_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name="fused")(vectors)


def _early(inputs, settings: FusionSettings) -> keras.KerasTensor:
    return _joined(_both_sides(inputs, settings), settings)


def _gated(inputs, settings: FusionSettings) -> keras.KerasTensor:
    """The gated unit of Arevalo et al. 2017 (arXiv:1702.01992), with one weight a side and example."""
    image, text = _both_sides(inputs, settings)
    seen = keras.layers.Concatenate(name="joined")([image, text])
    seen = keras.layers.Dense(settings.units // 4, activation="relu", name="gate_hidden")(seen)
    scores = keras.layers.Dense(2, name="gate_scores")(seen)
    weights = Gate(name="gate")(scores, inputs["has_image"], inputs["has_text"])
    return weights[:, :1] * image + weights[:, 1:] * text


def _attention(inputs, settings: FusionSettings) -> keras.KerasTensor:
    """Regions look at tokens and tokens at regions (Lu et al. 2019, arXiv:1908.02265, section 3.1).

    The pooled features of the whole picture are one more region.
    """

    def projected(name: str, sample: str) -> keras.KerasTensor:
        vectors = standardising(settings.samples[sample], name=f"{name}_standardised")(inputs[name])
        vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
        return keras.layers.Dense(settings.units, name=f"{name}_side")(vectors)

    def looking(name: str, query, value, mask=None) -> keras.KerasTensor:
        attention = keras.layers.MultiHeadAttention(HEADS, settings.units // HEADS, name=f"{name}_attention")
        found = attention(query, value, attention_mask=mask)
        return keras.layers.LayerNormalization(name=f"{name}_normal")(query + found)

    whole = keras.layers.Reshape((1, settings.units), name="whole")(projected("image", "image"))
    regions = Positions(name="positions")(projected("regions", "regions"))
    seen = keras.layers.Concatenate(axis=1, name="picture")([whole, regions])
    seen = Placeholder(name="no_image")(seen, inputs["has_image"])
    said = Placeholder(name="no_text")(projected("tokens", "tokens"), inputs["has_text"])
    # A missing text has one token: the placeholder.
    mask = inputs["token_mask"]
    seen, said = (
        looking("image", seen, said, mask[:, None, :] > 0.5),
        looking("text", said, seen),
    )
    pooled = MeanPool(name="tokens_pool")(said, mask)
    average = keras.layers.GlobalAveragePooling1D(name="regions_pool")(seen)
    return _joined([seen[:, 0], average, pooled], settings)

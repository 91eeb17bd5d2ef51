"""Models that read an image and a text together, either of which may be missing, up to the scorer s(x, c).

What they take, by name: "image" (B, D) the pooled features of a trunk, "regions" (B, R, F) one of its maps,
"text" (B, E) a sentence vector, "tokens" (B, T, E) the vectors of its tokens, "token_mask" (B, T), and
"has_image" and "has_text" (B,), 1.0 for a side that is there and 0.0 for one that is missing, whose numbers
then do not count.

A way to read both is a function in `FUSIONS`: it takes the inputs that it reads by these names, and the first
line of its docstring is what reports say of it.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from xmodal.models.heads import ClassTexts, Scorer, standardising
from xmodal.models.text_encoder import MeanPool

HEADS = 4
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
    """Vectors (B, ..., D); a learned vector (D,) stands in for those of a missing modality."""

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
    """Scores of both modalities (B, 2) -> weights (B, 2), which sum to 1; a missing modality has none."""

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, scores, has_image, has_text):
        there = keras.ops.stack([has_image, has_text], axis=1)
        return keras.ops.softmax(scores + (1 - there) * FAR_BELOW)

    def compute_output_shape(self, scores_shape, has_image_shape, has_text_shape):
        return scores_shape


@keras.saving.register_keras_serializable("xmodal")
class LateSum(keras.layers.Layer):
    """log P(c|image) + log P(c|text) - log P(c), each calibrated; without one, the other alone.

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
        evidences = ((image_logits, has_image), (text_logits, has_text))
        for (logits, there), temperature in zip(evidences, self._temperatures, strict=True):
            evidence = keras.ops.log_softmax(logits / temperature) - self._log_prior
            scores += keras.ops.expand_dims(there, 1) * evidence
        return scores

    def compute_output_shape(self, image_logits_shape, text_logits_shape, has_image_shape, has_text_shape):
        return image_logits_shape


@dataclass(frozen=True)
class UnimodalModels:
    """The trained models of both modalities, for a way that adds nothing to be trained.

    Attributes:
        image, text: as `fusion_model` builds "image_only" and "text_only".
        temperatures: of each, fitted on examples that it was not trained on.
        prior: the share of each class (C,), all above 0.
    """

    image: keras.Model
    text: keras.Model
    temperatures: tuple[float, float]
    prior: np.ndarray


def fusion_model(name: str, settings: FusionSettings, unimodal: UnimodalModels | None = None) -> keras.Model:
    """Builds a model of pairs, with the scorer on what its builder gives.

    Args:
        name: "image_only", "text_only", or "fused_" and a key of `FUSIONS`.
        settings: what it reads and how large it is.
        unimodal: for a model that `needs_unimodal_models`.

    Returns:
        A model: a dict of its `inputs_of` -> logits (B, C); of one that needs `unimodal`, log probabilities
        up to a constant.
    """
    shapes = {part: sample.shape[1:] for part, sample in settings.samples.items()}
    # Texts of one batch are as long as the longest of them.
    shapes |= {"tokens": (None, *shapes["text"]), "token_mask": (None,), "has_image": (), "has_text": ()}
    inputs = {part: keras.Input(shapes[part], name=part) for part in inputs_of(name)}
    if needs_unimodal_models(name):
        return keras.Model(inputs, _builder(name)(**inputs, unimodal=unimodal), name=name)
    scorer = Scorer(settings.texts.vectors, settings.texts.targets, settings.scale, name="scorer")
    return keras.Model(inputs, scorer(_builder(name)(**inputs, settings=settings)), name=name)


def inputs_of(name: str) -> tuple[str, ...]:
    """Returns what a model reads, by its name."""
    return tuple(part for part in _parameters(name) if part not in ("settings", "unimodal"))


def needs_unimodal_models(name: str) -> bool:
    """Tells whether a model consists of the trained models of both modalities, and is not trained itself."""
    return "unimodal" in _parameters(name)


def note_of(name: str) -> str:
    """Returns what reports say of a model."""
    line = (inspect.getdoc(_builder(name)) or "").partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _builder(name: str) -> Callable[..., keras.KerasTensor]:
    return ALONE[name] if name in ALONE else FUSIONS[name.removeprefix("fused_")]


def _parameters(name: str) -> list[str]:
    return list(inspect.signature(_builder(name)).parameters)


def gate_model(gated: keras.Model) -> keras.Model:
    """Returns what gives the weights (B, 2) of image and text in a "fused_gated" model."""
    return keras.Model(gated.input, gated.get_layer("gate").output, name="gate")


def _hidden(name: str, vectors: keras.KerasTensor, settings: FusionSettings) -> keras.KerasTensor:
    """Pooled features of one side (B, D) -> hidden ones (B, units)."""
    vectors = standardising(settings.samples[name], name=f"{name}_standardised")(vectors)
    vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name=f"{name}_side")(vectors)


def _hidden_modalities(image, text, has_image, has_text, settings: FusionSettings) -> list[keras.KerasTensor]:
    return [
        Placeholder(name=f"no_{name}")(_hidden(name, vectors, settings), there)
        for name, vectors, there in (("image", image, has_image), ("text", text, has_text))
    ]


def _joined(parts: list[keras.KerasTensor], settings: FusionSettings) -> keras.KerasTensor:
    vectors = keras.layers.Concatenate(name="joined")(parts)
    vectors = keras.layers.Dropout(settings.dropout, name="joined_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name="fused")(vectors)


def image_only(image, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on the trunk's pooled features."""
    return _hidden("image", image, settings)


def text_only(text, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on BERT's sentence vector."""
    return _hidden("text", text, settings)


def early(image, text, has_image, has_text, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on both, joined."""
    return _joined(_hidden_modalities(image, text, has_image, has_text, settings), settings)


def late(image, text, has_image, has_text, unimodal: UnimodalModels) -> keras.KerasTensor:
    """Calibrated log probabilities of both modalities, added up; nothing is trained."""
    logits = unimodal.image({"image": image}), unimodal.text({"text": text})
    return LateSum(unimodal.temperatures, unimodal.prior, name="sum")(*logits, has_image, has_text)


def gated(image, text, has_image, has_text, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on both, each with a weight of its own in every pair.

    The gated unit of Arevalo et al. 2017 (arXiv:1702.01992), with one weight a side and example.
    """
    image, text = _hidden_modalities(image, text, has_image, has_text, settings)
    seen = keras.layers.Concatenate(name="joined")([image, text])
    seen = keras.layers.Dense(settings.units // 4, activation="relu", name="gate_hidden")(seen)
    scores = keras.layers.Dense(2, name="gate_scores")(seen)
    weights = Gate(name="gate")(scores, has_image, has_text)
    return weights[:, :1] * image + weights[:, 1:] * text


def attention(
    image, regions, tokens, token_mask, has_image, has_text, settings: FusionSettings
) -> keras.KerasTensor:
    """The scorer on regions that looked at tokens, and tokens that looked at regions.

    After Lu et al. 2019 (arXiv:1908.02265, section 3.1). The pooled features of the whole picture are one
    more region.
    """
    whole = keras.layers.Reshape((1, settings.units), name="whole")(_projected("image", image, settings))
    indices = Positions(name="positions")(_projected("regions", regions, settings))
    seen = keras.layers.Concatenate(axis=1, name="picture")([whole, indices])
    seen = Placeholder(name="no_image")(seen, has_image)
    # A missing text has one token: the placeholder.
    words = Placeholder(name="no_text")(_projected("tokens", tokens, settings), has_text)
    seen, words = (
        _looking("image", seen, words, settings, token_mask[:, None, :] > 0.5),
        _looking("text", words, seen, settings),
    )
    pooled = MeanPool(name="tokens_pool")(words, token_mask)
    average = keras.layers.GlobalAveragePooling1D(name="regions_pool")(seen)
    return _joined([seen[:, 0], average, pooled], settings)


def _projected(name: str, vectors: keras.KerasTensor, settings: FusionSettings) -> keras.KerasTensor:
    vectors = standardising(settings.samples[name], name=f"{name}_standardised")(vectors)
    vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
    return keras.layers.Dense(settings.units, name=f"{name}_side")(vectors)


def _looking(name: str, query, value, settings: FusionSettings, mask=None) -> keras.KerasTensor:
    attention = keras.layers.MultiHeadAttention(HEADS, settings.units // HEADS, name=f"{name}_attention")
    attended = attention(query, value, attention_mask=mask)
    return keras.layers.LayerNormalization(name=f"{name}_normal")(query + attended)


# Name -> the builder of a model of one side.
ALONE: dict[str, Callable[..., keras.KerasTensor]] = {"image_only": image_only, "text_only": text_only}
# What --fusion names -> the builder of a model of both; it takes `unimodal` for `settings` when nothing of
# it is trained.
FUSIONS: dict[str, Callable[..., keras.KerasTensor]] = {
    "early": early,
    "late": late,
    "gated": gated,
    "attention": attention,
}

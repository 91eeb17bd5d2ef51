"""Models that read an image, a text and a sound together, up to the scorer s(x, c); any may be missing.

What they take, by name: "image" (B, D) the pooled features of a trunk, "regions" (B, R, F) one of its maps,
"sound" and "sound_regions" the same of a spectrogram, "text" (B, E) a sentence vector, "tokens" (B, T, E) the
vectors of its tokens, "token_mask" (B, T), and "has_image", "has_text" and "has_sound" (B,), 1.0 for a side
that is there and 0.0 for one that is missing, whose numbers then do not count.

A way to read them is a function in `FUSIONS`: it takes the inputs that it reads by these names, or dicts of
them by modality (`GROUPED`), and the first line of its docstring is what reports say of it.
"""

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import keras
import numpy as np

from xmodal.data.modalities import MODALITIES
from xmodal.models.heads import ClassTexts, Scorer, standardisation
from xmodal.models.text_encoder import MeanPool

HEADS = 4
FAR_BELOW = -1e9
# Modality -> its input with a vector for each place or token.
SEQUENCES = {"image": "regions", "text": "tokens", "sound": "sound_regions"}
# What a builder may take for several inputs -> modality -> the input.
GROUPED = {
    "vectors": {modality: modality for modality in MODALITIES},
    "pictures": {"image": "image", "sound": "sound"},
    "sequences": SEQUENCES,
    "masks": {"text": "token_mask"},
    "present": {modality: f"has_{modality}" for modality in MODALITIES},
}
Parts = dict[str, keras.KerasTensor]


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

    @property
    def modalities(self) -> tuple[str, ...]:
        """What there are vectors of."""
        return tuple(name for name in MODALITIES if name in self.samples)


@keras.saving.register_keras_serializable("xmodal")
class Placeholder(keras.layers.Layer):
    """Vectors (B, ..., D); a learned vector (D,) stands in for those of a missing modality."""

    def build(self, vectors_shape, present_shape):
        """Makes the vector."""
        self.vector = self.add_weight(shape=(vectors_shape[-1],), initializer="glorot_uniform", name="vector")

    def call(self, vectors, present):
        mask = keras.ops.reshape(present > 0.5, (-1,) + (1,) * (len(vectors.shape) - 1))
        return keras.ops.where(mask, vectors, keras.ops.cast(self.vector, vectors.dtype))

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
    """Scores of M modalities (B, M) -> weights (B, M), which sum to 1; a missing modality has none."""

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, scores, present):
        mask = keras.ops.stack(present, axis=1)
        return keras.ops.softmax(scores + (1 - mask) * FAR_BELOW)

    def compute_output_shape(self, scores_shape, present_shape):
        return scores_shape


@keras.saving.register_keras_serializable("xmodal")
class LateSum(keras.layers.Layer):
    """log P(c) + the sum of log P(c|x) - log P(c) over the modalities x that are there, each calibrated.

    By Bayes' rule these are the log probabilities given all of them, up to a constant, where they are
    independent within a class.

    Args:
        temperatures: of the logits of each modality.
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

    def call(self, logits, present):
        scores = keras.ops.zeros_like(logits[0]) + self._log_prior
        for part_logits, mask, temperature in zip(logits, present, self._temperatures, strict=True):
            evidence = keras.ops.log_softmax(part_logits / temperature) - self._log_prior
            scores += keras.ops.expand_dims(mask, 1) * evidence
        return scores

    def compute_output_shape(self, logits_shape, present_shape):
        return logits_shape[0]


@dataclass(frozen=True)
class UnimodalModels:
    """The trained models of single modalities, for a way that adds nothing to be trained.

    Attributes:
        models: modality -> as `fusion_model` builds "image_only", "text_only" and "sound_only".
        temperatures: of each, fitted on examples that it was not trained on.
        prior: the share of each class (C,), all above 0.
    """

    models: Mapping[str, keras.Model]
    temperatures: Sequence[float]
    prior: np.ndarray


def fusion_model(name: str, settings: FusionSettings, unimodal: UnimodalModels | None = None) -> keras.Model:
    """Builds a model of pairs, with the scorer on what its builder gives.

    Args:
        name: "image_only", "text_only", "sound_only", or "fused_" and a key of `FUSIONS`.
        settings: what it reads and how large it is.
        unimodal: for a model that `needs_unimodal_models`.

    Returns:
        A model: a dict of its `inputs_of` -> logits (B, C); of one that needs `unimodal`, log probabilities
        up to a constant.
    """
    shapes: dict[str, tuple] = {part: sample.shape[1:] for part, sample in settings.samples.items()}
    # Texts of one batch are as long as the longest of them.
    shapes |= {"tokens": (None, *shapes["text"]), "token_mask": (None,)}
    shapes |= dict.fromkeys(GROUPED["present"].values(), ())
    names = inputs_of(name, settings.modalities)
    inputs = {part: keras.Input(shapes[part], name=part) for part in names}
    arguments = {
        parameter: inputs[source]
        if isinstance(source, str)
        else {modality: inputs[part] for modality, part in source.items()}
        for parameter, source in _sources(name, settings.modalities).items()
    }
    if needs_unimodal_models(name):
        return keras.Model(inputs, _builder(name)(**arguments, unimodal=unimodal), name=name)
    scorer = Scorer(settings.texts.vectors, settings.texts.targets, settings.scale, name="scorer")
    return keras.Model(inputs, scorer(_builder(name)(**arguments, settings=settings)), name=name)


def inputs_of(name: str, modalities: Sequence[str] = MODALITIES[:2]) -> tuple[str, ...]:
    """Returns what a model of some modalities reads, by its name."""
    sources = _sources(name, modalities).values()
    return tuple(
        part for source in sources for part in ([source] if isinstance(source, str) else source.values())
    )


def _sources(name: str, modalities: Sequence[str]) -> dict[str, str | dict[str, str]]:
    """Returns what each parameter of a builder stands for: an input, or inputs by modality."""
    return {
        parameter: {modality: part for modality, part in GROUPED[parameter].items() if modality in modalities}
        if parameter in GROUPED
        else parameter
        for parameter in _parameters(name)
        if parameter not in ("settings", "unimodal")
    }


def alone_of(modalities: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the models of one modality each."""
    return tuple(f"{modality}_only" for modality in modalities)


def needs_unimodal_models(name: str) -> bool:
    """Tells whether a model consists of the trained models of all modalities, and is not trained itself."""
    return "unimodal" in _parameters(name)


def note_of(name: str, modalities: Sequence[str] = MODALITIES[:2]) -> str:
    """Returns what reports say of a model of some modalities."""
    line = (inspect.getdoc(_builder(name)) or "").partition("\n")[0].rstrip(".")
    line = line if len(modalities) == 2 else line.replace("both", "all")
    return line[:1].lower() + line[1:]


def _builder(name: str) -> Callable[..., keras.KerasTensor]:
    return ALONE[name] if name in ALONE else FUSIONS[name.removeprefix("fused_")]


def _parameters(name: str) -> list[str]:
    return list(inspect.signature(_builder(name)).parameters)


def gate_model(gated: keras.Model) -> keras.Model:
    """Returns what gives the weights (B, M) of the modalities in a "fused_gated" model."""
    return keras.Model(gated.input, gated.get_layer("gate").output, name="gate")


def _hidden_layer(name: str, vectors: keras.KerasTensor, settings: FusionSettings) -> keras.KerasTensor:
    """Pooled features of one side (B, D) -> hidden ones (B, units)."""
    vectors = standardisation(settings.samples[name], name=f"{name}_standardised")(vectors)
    vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name=f"{name}_side")(vectors)


def _hidden_modalities(vectors: Parts, present: Parts, settings: FusionSettings) -> list[keras.KerasTensor]:
    return [
        Placeholder(name=f"no_{name}")(_hidden_layer(name, tensor, settings), present[name])
        for name, tensor in vectors.items()
    ]


def _score_inputs(parts: list[keras.KerasTensor], settings: FusionSettings) -> keras.KerasTensor:
    vectors = keras.layers.Concatenate(name="joined")(parts)
    vectors = keras.layers.Dropout(settings.dropout, name="joined_dropout")(vectors)
    return keras.layers.Dense(settings.units, activation="relu", name="fused")(vectors)


def image_only(image, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on the trunk's pooled features."""
    return _hidden_layer("image", image, settings)


def text_only(text, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on BERT's sentence vector."""
    return _hidden_layer("text", text, settings)


def sound_only(sound, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on the trunk's pooled features of spectrograms."""
    return _hidden_layer("sound", sound, settings)


def early(vectors: Parts, present: Parts, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on both, joined."""
    return _score_inputs(_hidden_modalities(vectors, present, settings), settings)


def late(vectors: Parts, present: Parts, unimodal: UnimodalModels) -> keras.KerasTensor:
    """Calibrated log probabilities of both modalities, added up; nothing is trained."""
    logits = [unimodal.models[name]({name: tensor}) for name, tensor in vectors.items()]
    return LateSum(unimodal.temperatures, unimodal.prior, name="sum")(logits, [*present.values()])


def gated(vectors: Parts, present: Parts, settings: FusionSettings) -> keras.KerasTensor:
    """The scorer on both, each with a weight of its own in every pair.

    The gated unit of Arevalo et al. 2017 (arXiv:1702.01992), with one weight a side and example.
    """
    sides = _hidden_modalities(vectors, present, settings)
    hidden = keras.layers.Concatenate(name="joined")(sides)
    hidden = keras.layers.Dense(settings.units // 4, activation="relu", name="gate_hidden")(hidden)
    scores = keras.layers.Dense(len(sides), name="gate_scores")(hidden)
    weights = Gate(name="gate")(scores, [*present.values()])
    terms = [weights[:, number : number + 1] * side for number, side in enumerate(sides)]
    return reduce(operator.add, terms)


def attention(
    pictures: Parts, sequences: Parts, masks: Parts, present: Parts, settings: FusionSettings
) -> keras.KerasTensor:
    """The scorer on regions that looked at tokens, and tokens that looked at regions.

    After Lu et al. 2019 (arXiv:1908.02265, section 3.1). The pooled features of the whole picture are one
    more region. Each of three modalities looks at both others.
    """
    streams = {}
    for name, vectors in sequences.items():
        # A missing text has one token: the placeholder.
        stream = (
            _picture(name, pictures[name], vectors, settings)
            if name in pictures
            else _project(SEQUENCES[name], vectors, settings)
        )
        streams[name] = Placeholder(name=f"no_{name}")(stream, present[name])
    outputs = {name: _attend(name, streams, masks, present, settings) for name in streams}
    features = []
    for name, stream in outputs.items():
        if name in masks:
            features.append(MeanPool(name=f"{SEQUENCES[name]}_pool")(stream, masks[name]))
        else:
            average = keras.layers.GlobalAveragePooling1D(name=f"{SEQUENCES[name]}_pool")(stream)
            features += [stream[:, 0], average]
    return _score_inputs(features, settings)


def _picture(name: str, features, regions, settings: FusionSettings) -> keras.KerasTensor:
    """Pooled features (B, D) and regions (B, R, F) -> (B, 1 + R, units)."""
    prefix = SEQUENCES[name].removesuffix("regions")
    features = keras.layers.Reshape((1, settings.units), name=f"{prefix}whole")(
        _project(name, features, settings)
    )
    region_vectors = Positions(name=f"{prefix}positions")(_project(SEQUENCES[name], regions, settings))
    return keras.layers.Concatenate(axis=1, name=f"{prefix}picture")([features, region_vectors])


def _project(name: str, vectors: keras.KerasTensor, settings: FusionSettings) -> keras.KerasTensor:
    vectors = standardisation(settings.samples[name], name=f"{name}_standardised")(vectors)
    vectors = keras.layers.Dropout(settings.dropout, name=f"{name}_dropout")(vectors)
    return keras.layers.Dense(settings.units, name=f"{name}_side")(vectors)


def _attend(
    name: str, streams: Parts, masks: Parts, present: Parts, settings: FusionSettings
) -> keras.KerasTensor:
    """What is read of one modality, after it looked at the others."""
    query, others = streams[name], [other for other in streams if other != name]
    value, mask = _concatenate([streams[other] for other in others]), None
    if not masks.keys().isdisjoint(others):
        if len(others) > 1:
            # Beside others it counts how many placeholders there are.
            masks = {other: _one_token(other_mask, present[other]) for other, other_mask in masks.items()}
        token_masks = [masks.get(other, keras.ops.ones_like(streams[other][:, :, 0])) for other in others]
        mask = _concatenate(token_masks)[:, None, :] > 0.5
    attention = keras.layers.MultiHeadAttention(HEADS, settings.units // HEADS, name=f"{name}_attention")
    context = attention(query, value, attention_mask=mask)
    return keras.layers.LayerNormalization(name=f"{name}_normal")(query + context)


def _one_token(mask: keras.KerasTensor, present: keras.KerasTensor) -> keras.KerasTensor:
    """Returns which tokens there are (B, T): of a missing text the first one."""
    first = keras.ops.cumsum(keras.ops.ones_like(mask), axis=1) < 1.5
    return keras.ops.where(present[:, None] > 0.5, mask, keras.ops.cast(first, mask.dtype))


def _concatenate(sequences: list[keras.KerasTensor]) -> keras.KerasTensor:
    return sequences[0] if len(sequences) == 1 else keras.ops.concatenate(sequences, axis=1)


# Name -> the builder of a model of one side.
ALONE: dict[str, Callable[..., keras.KerasTensor]] = {
    "image_only": image_only,
    "text_only": text_only,
    "sound_only": sound_only,
}
# What --fusion names -> the builder of a model of all; it takes `unimodal` for `settings` when nothing of
# it is trained.
FUSIONS: dict[str, Callable[..., keras.KerasTensor]] = {
    "early": early,
    "late": late,
    "gated": gated,
    "attention": attention,
}

"""What the axes of a layer's weights are: the channels it takes, those it makes, or neither."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from xmodal.transfer.groups import Channels, Group


@dataclass(frozen=True)
class Axis:
    """An axis of a weight whose size depends on how wide a network is.

    Attributes:
        channels: what lies along it.
        summed: whether the layer adds up over it, so that channels which stand for one share its weight.
        uniform: whether each channel of the source must be stood for as often as the others, because the
            layer computes with their mean and variance.
    """

    channels: Channels
    summed: bool = False
    uniform: bool = False


# For each weight of a layer, what its axes are; None for one that is of the same size in both.
Axes = list[tuple[Axis | None, ...]]
# source layer, target layer, channels taken -> axes of its weights, channels made
Rule = Callable[[Any, Any, Channels], tuple[Axes, Channels]]


def rule_of(layer: keras.Layer) -> Rule | None:
    """Returns what tells the axes of a layer's weights, None for layers of which that is not known."""
    if getattr(layer, "data_format", None) == "channels_first" or getattr(layer, "depth_multiplier", 1) > 1:
        return None
    if "Conv" in type(layer).__name__ and getattr(layer, "groups", 1) > 1:
        return _by_channel if weight_size(layer, 0, -2) == 1 else None
    for kind in type(layer).__mro__:
        if kind.__name__ in RULES:
            return RULES[kind.__name__]
    return None


def weight_size(layer: keras.Layer, index: int, axis: int) -> int:
    """Returns the size of one axis of one weight of a layer."""
    return int(layer.weights[index].shape[axis])


def _made(source: keras.Layer, target: keras.Layer, index: int, axis: int) -> Channels:
    return (Group(weight_size(source, index, axis), weight_size(target, index, axis)),)


def _dense(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., taken, made) and a bias: Dense and the convolutions."""
    made = _made(source, target, 0, -1)
    others = (None,) * (len(target.weights[0].shape) - 2)
    return [(*others, Axis(taken, summed=True), Axis(made)), (Axis(made),)][: len(target.weights)], made


def _transposed(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., made, taken) and a bias."""
    made = _made(source, target, 0, -2)
    others = (None,) * (len(target.weights[0].shape) - 2)
    return [(*others, Axis(made), Axis(taken, summed=True)), (Axis(made),)][: len(target.weights)], made


def _depthwise(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., taken, 1) and a bias."""
    others = (None,) * (len(target.weights[0].shape) - 2)
    return [(*others, Axis(taken), None), (Axis(taken),)][: len(target.weights)], taken


def _separable(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., taken, 1), one of 1 x 1 (..., taken, made), and a bias."""
    made = _made(source, target, 1, -1)
    others = (None,) * (len(target.weights[0].shape) - 2)
    axes: Axes = [
        (*others, Axis(taken), None),
        (*others, Axis(taken, summed=True), Axis(made)),
        (Axis(made),),
    ]
    return axes[: len(target.weights)], made


def _by_channel(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """Numbers of each channel along the last axis: BatchNormalization, LayerScale, depthwise `groups`."""
    return [(None,) * (len(weight.shape) - 1) + (Axis(taken),) for weight in target.weights], taken


def _normalized(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """As `_by_channel`, but the mean and variance are those of all channels."""
    return [(Axis(taken, uniform=True),) for _ in target.weights], taken


def _embedding(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """Vectors (tokens or positions, made); a second matrix where the output has one of its own."""
    made = _made(source, target, 0, -1)
    axes: Axes = [(None, Axis(made)), (Axis(made, summed=True), None)]
    return axes[: len(target.weights)], made


def _transformer(source: keras.Layer, target: keras.Layer, taken: Channels) -> tuple[Axes, Channels]:
    """Attention and a feed-forward network around a stream of vectors; more heads of the same size."""
    paths = [weight.path.split("/")[-2:] for weight in target.weights]
    query, inner = (
        next(i for i, path in enumerate(paths) if path == [name, "kernel"])
        for name in ("query", "feedforward_intermediate_dense")
    )
    heads, wide = _made(source, target, query, 1), _made(source, target, inner, -1)
    stream = Axis(taken)
    projected: dict[str, tuple[Axis | None, ...]] = {
        "kernel": (Axis(taken, summed=True), Axis(heads), None),
        "bias": (Axis(heads), None),
    }
    by_layer: dict[str, dict[str, tuple[Axis | None, ...]]] = {
        "query": projected,
        "key": projected,
        "value": projected,
        "attention_output": {"kernel": (Axis(heads, summed=True), None, stream), "bias": (stream,)},
        "feedforward_intermediate_dense": {
            "kernel": (Axis(taken, summed=True), Axis(wide)),
            "bias": (Axis(wide),),
        },
        "feedforward_output_dense": {"kernel": (Axis(wide, summed=True), stream), "bias": (stream,)},
    }
    norm = (Axis(taken, uniform=True),)
    return [by_layer[layer][name] if layer in by_layer else norm for layer, name in paths], taken


RULES: dict[str, Rule] = {
    "Dense": _dense,
    "Conv1D": _dense,
    "Conv2D": _dense,
    "Conv3D": _dense,
    "Conv1DTranspose": _transposed,
    "Conv2DTranspose": _transposed,
    "Conv3DTranspose": _transposed,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "BatchNormalization": _by_channel,
    "LayerScale": _by_channel,
    "LayerNormalization": _normalized,
    "Embedding": _embedding,
    "PositionEmbedding": _embedding,
    "TransformerEncoder": _transformer,
}

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


def _new_channels(source: keras.Layer, target: keras.Layer, index: int, axis: int) -> Channels:
    return (Group(weight_size(source, index, axis), weight_size(target, index, axis)),)


def _dense(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., inputs, outputs) and a bias: Dense and the convolutions."""
    outputs = _new_channels(source, target, 0, -1)
    spatial_axes = (None,) * (len(target.weights[0].shape) - 2)
    axes: Axes = [(*spatial_axes, Axis(inputs, summed=True), Axis(outputs)), (Axis(outputs),)]
    return axes[: len(target.weights)], outputs


def _transposed_convolution(
    source: keras.Layer, target: keras.Layer, inputs: Channels
) -> tuple[Axes, Channels]:
    """A kernel (..., outputs, inputs) and a bias."""
    outputs = _new_channels(source, target, 0, -2)
    spatial_axes = (None,) * (len(target.weights[0].shape) - 2)
    axes: Axes = [(*spatial_axes, Axis(outputs), Axis(inputs, summed=True)), (Axis(outputs),)]
    return axes[: len(target.weights)], outputs


def _depthwise(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., inputs, 1) and a bias."""
    spatial_axes = (None,) * (len(target.weights[0].shape) - 2)
    return [(*spatial_axes, Axis(inputs), None), (Axis(inputs),)][: len(target.weights)], inputs


def _separable(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """A kernel (..., inputs, 1), one of 1 x 1 (..., inputs, outputs), and a bias."""
    outputs = _new_channels(source, target, 1, -1)
    spatial_axes = (None,) * (len(target.weights[0].shape) - 2)
    axes: Axes = [
        (*spatial_axes, Axis(inputs), None),
        (*spatial_axes, Axis(inputs, summed=True), Axis(outputs)),
        (Axis(outputs),),
    ]
    return axes[: len(target.weights)], outputs


def _by_channel(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """Numbers of each channel along the last axis: BatchNormalization, LayerScale, depthwise `groups`."""
    return [(None,) * (len(weight.shape) - 1) + (Axis(inputs),) for weight in target.weights], inputs


def _layer_norm(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """As `_by_channel`, but the mean and variance are those of all channels."""
    return [(Axis(inputs, uniform=True),) for _ in target.weights], inputs


def _embedding(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """Vectors (tokens or positions, outputs); a second matrix where the output has one of its own."""
    outputs = _new_channels(source, target, 0, -1)
    axes: Axes = [(None, Axis(outputs)), (Axis(outputs, summed=True), None)]
    return axes[: len(target.weights)], outputs


def _transformer(source: keras.Layer, target: keras.Layer, inputs: Channels) -> tuple[Axes, Channels]:
    """Attention and a feed-forward network around a stream of vectors; more heads of the same size."""
    paths = [weight.path.split("/")[-2:] for weight in target.weights]
    query, inner = (
        next(i for i, path in enumerate(paths) if path == [name, "kernel"])
        for name in ("query", "feedforward_intermediate_dense")
    )
    heads, units = _new_channels(source, target, query, 1), _new_channels(source, target, inner, -1)
    stream = Axis(inputs)
    projection: dict[str, tuple[Axis | None, ...]] = {
        "kernel": (Axis(inputs, summed=True), Axis(heads), None),
        "bias": (Axis(heads), None),
    }
    axes_by_layer: dict[str, dict[str, tuple[Axis | None, ...]]] = {
        "query": projection,
        "key": projection,
        "value": projection,
        "attention_output": {"kernel": (Axis(heads, summed=True), None, stream), "bias": (stream,)},
        "feedforward_intermediate_dense": {
            "kernel": (Axis(inputs, summed=True), Axis(units)),
            "bias": (Axis(units),),
        },
        "feedforward_output_dense": {"kernel": (Axis(units, summed=True), stream), "bias": (stream,)},
    }
    norm = (Axis(inputs, uniform=True),)
    return [axes_by_layer[layer][name] if layer in axes_by_layer else norm for layer, name in paths], inputs


RULES: dict[str, Rule] = {
    "Dense": _dense,
    "Conv1D": _dense,
    "Conv2D": _dense,
    "Conv3D": _dense,
    "Conv1DTranspose": _transposed_convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Conv3DTranspose": _transposed_convolution,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "BatchNormalization": _by_channel,
    "LayerScale": _by_channel,
    "LayerNormalization": _layer_norm,
    "Embedding": _embedding,
    "PositionEmbedding": _embedding,
    "TransformerEncoder": _transformer,
}

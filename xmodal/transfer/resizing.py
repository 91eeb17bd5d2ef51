"""Weights of layers that are wider or narrower in the target, so that it computes what the source did."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.transfer.axes import Axes, Axis
from xmodal.transfer.channels import trace_channels
from xmodal.transfer.groups import add_norms, index, is_uniform, shares, source_size
from xmodal.transfer.growth import weight_shapes
from xmodal.transfer.roles import weighted_layers


def resize_weights(
    target: keras.Model, sources: Mapping[str, keras.Layer], resized: Sequence[str], grown: Sequence[str]
) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Returns the weights of layers that are of another width than in the source.

    A wider layer repeats channels, and what reads them shares out its weights unevenly between those that
    are alike, so that the network computes what it did and they learn different things (Net2WiderNet: Chen,
    Goodfellow and Shlens 2016, arXiv:1511.05641, section 2.2; for heads and vectors of transformer layers
    LEMON: Wang et al. 2024, arXiv:2310.07999). In a narrower one the channels with the largest norms stay,
    and what the network computes changes.

    Args:
        target: a functional model.
        sources: target path -> the layer whose weights it gets, resized or not.
        resized: the paths of those of another width.
        grown: paths of layers that are new in the target.

    Returns:
        Path -> weights of each resized layer; and for each output of the target the channels of the source's
        that its own stand for.

    Raises:
        UserError: when it is not known how to resize a layer, or what a wider network computes would change.
    """
    axes, outputs = trace_channels(target, sources, grown)
    for path in resized:
        if path not in axes:
            raise UserError(
                f"layer {path!r} ({type(sources[path]).__name__}) cannot be of another width than its source",
                "use `growth=random` or `leave` it",
            )
    _add_norms(sources, axes)
    rng = np.random.default_rng(0)
    weights = {path: _resize(path, sources[path], axes[path], rng) for path in resized}
    targets = weighted_layers(target)
    for path, arrays in weights.items():
        shapes = weight_shapes(targets[path])
        if [array.shape for array in arrays] != shapes:
            raise UserError(
                f"the weights of layer {path!r} differ in more than their channels: "
                f"{weight_shapes(sources[path])} in the source and {shapes} in the target",
                "build both with kernels and attention heads of the same size, or use `growth=random`",
            )
    return weights, [index(channels) for channels in outputs]


def _add_norms(sources: Mapping[str, keras.Layer], axes: Mapping[str, Axes]) -> None:
    """Adds up, for each channel, the L1 norms of the kernels that make it."""
    for path, layer_axes in axes.items():
        for weight, weight_axes in zip(sources[path].get_weights(), layer_axes, strict=False):
            for number, axis in enumerate(weight_axes):
                if axis is not None and not axis.summed and weight.ndim > 1:
                    other_axes = tuple(other for other in range(weight.ndim) if other != number)
                    add_norms(axis.channels, np.abs(weight).sum(axis=other_axes))


def _resize(path: str, source: keras.Layer, axes: Axes, rng: np.random.Generator) -> list[np.ndarray]:
    weights = source.get_weights()
    if len(weights) != len(axes):
        raise UserError(
            f"layer {path!r} ({type(source).__name__}) has {len(weights)} weights, and not {len(axes)}",
            "use `growth=random` or `leave` it",
        )
    return [
        _resize_weight(path, weight, weight_axes, rng)
        for weight, weight_axes in zip(weights, axes, strict=True)
    ]


def _resize_weight(
    path: str, weight: np.ndarray, axes: tuple[Axis | None, ...], rng: np.random.Generator
) -> np.ndarray:
    for number, axis in enumerate(axes):
        if axis is None:
            continue
        count = source_size(axis.channels)
        indices = index(axis.channels)
        if weight.shape[number] != count:
            raise UserError(
                f"layer {path!r} of the source takes {weight.shape[number]} channels, and {count} come to it",
                "both networks must be built in the same way, apart from their widths",
            )
        if axis.uniform and len(indices) > count and not is_uniform(indices, count):
            raise UserError(
                f"layer {path!r} cannot grow from {count} to {len(indices)} channels: their mean and "
                "variance would change",
                f"choose a multiple of {count}, or `growth=random`",
            )
        weight = np.take(weight, indices, axis=number)
        if axis.summed:
            shape = [-1 if other == number else 1 for other in range(weight.ndim)]
            weight = weight * shares(indices, rng).reshape(shape).astype(weight.dtype)
    return weight

"""How layers that are new in a target start: as the identity, by the type of the layer."""

from collections.abc import Mapping
from typing import Literal

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.kernels.layers import operations, producers, tensors_read

Growth = Literal["identity", "random"]
# relu(relu(x)) = relu(x): after one of these, a layer that passes its input on changes nothing.
IDEMPOTENT_ACTIVATIONS = ("linear", "relu", "relu6")


def weight_shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    """Returns the shapes of a layer's weights."""
    return [tuple(weight.shape) for weight in layer.weights]


def grown_weights(model: keras.Model, grown: Mapping[str, keras.Layer]) -> dict[str, list[np.ndarray]]:
    """Returns the weights with which new layers leave what a model computes as it is.

    Args:
        model: the target.
        grown: its new layers, by their paths.

    Returns:
        Path -> weights, of the ends of new residual branches and of layers outside of these. What stands
        before such an end stays as it was initialised.

    Raises:
        UserError: for a layer that can do no such thing.
    """
    branches = residual_branches(model, set(grown))
    ends = {name: zero_weights(grown[name]) for name, inside in branches.items()}
    covered = set(ends).union(*branches.values())
    return ends | {
        name: identity_weights(name, layer) for name, layer in grown.items() if name not in covered
    }


def residual_branches(model: keras.Model, grown: set[str]) -> dict[str, set[str]]:
    """Finds the branches of new layers alone that are added to what a model had.

    Args:
        model: the target; layers inside of nested models are not looked at.
        grown: names of its new layers.

    Returns:
        The last layer with weights of each branch -> the other ones in it.
    """
    makers = producers(model)
    found = {}
    for operation in operations(model):
        if _is_sum(operation):
            new = [names for source in tensors_read(operation) if (names := _branch(source, makers, grown))]
            if len(new) == 1 and _can_be_zero(model.get_layer(new[0][0])):
                found[new[0][0]] = set(new[0][1:])
    return found


def _is_sum(operation: keras.Operation) -> bool:
    """Tells whether this adds: the layer, or a plus between two tensors."""
    return type(operation).__name__ == "Add"


def _branch(source: keras.KerasTensor, makers: dict[int, keras.Operation], grown: set[str]) -> list[str]:
    """Returns the new layers, from the last one on, between a sum and what was there before."""
    names: list[str] = []
    waiting, seen = [source], set()
    while waiting:
        tensor = waiting.pop(0)
        maker = makers.get(id(tensor))
        if maker is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        weights = getattr(maker, "weights", ())
        if _is_sum(maker) or (weights and maker.name not in grown):
            continue
        if weights:
            names.append(maker.name)
        waiting += tensors_read(maker)
    return names


def _can_be_zero(layer: keras.Layer) -> bool:
    # ConvNeXt's branches end in a scale, whose weight has no name.
    scales = type(layer).__name__ == "LayerScale"
    return scales or any(weight.name in ("gamma", "kernel") for weight in layer.trainable_weights)


def zero_weights(layer: keras.Layer) -> list[np.ndarray]:
    """Returns the weights with which a layer gives zeros; its statistics stay as they are."""
    trained = {id(weight) for weight in layer.trainable_weights}
    return [
        np.zeros(weight.shape, weight.dtype) if id(weight) in trained else keras.ops.convert_to_numpy(weight)
        for weight in layer.weights
    ]


def identity_weights(name: str, layer: keras.Layer) -> list[np.ndarray]:
    """Returns the weights with which a layer gives what it takes.

    Raises:
        UserError: for a layer that cannot do so.
    """
    shapes = weight_shapes(layer)
    kernel_shape = shapes[0]
    activation = keras.activations.serialize(getattr(layer, "activation", keras.activations.linear))
    if (
        not isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
        or kernel_shape[-2] != kernel_shape[-1]
        or any(side % 2 == 0 for side in kernel_shape[:-2])
        or activation not in IDEMPOTENT_ACTIVATIONS
        or getattr(layer, "padding", "same") != "same"
        or getattr(layer, "strides", (1, 1)) != (1, 1)
    ):
        raise UserError(
            f"layer {name!r} ({type(layer).__name__}, kernel {kernel_shape}, activation {activation}) "
            "cannot be grown as an identity",
            "use growth='random' or leave it out",
        )
    kernel = np.zeros(kernel_shape, np.float32)
    centre = tuple(side // 2 for side in kernel_shape[:-2])
    kernel[centre] = np.eye(kernel_shape[-1], dtype=np.float32)
    return [kernel] + [np.zeros(shape, np.float32) for shape in shapes[1:]]

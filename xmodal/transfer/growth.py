"""How layers that are new in a target start: as the identity, by the type of the layer."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.kernels.layers import all_layers, arguments_with, calls
from xmodal.transfer.ranges import ACTIVATIONS, ANY, activation_name, producing_calls, value_range
from xmodal.transfer.roles import owner
from xmodal.transfer.transformers import branchless_weights, is_encoder

Growth = Literal["identity", "random"]
# Activations that leave as it is what lies in their own range.
IDEMPOTENT_ACTIVATIONS = ("linear", "relu", "relu6")
# Of images or texts of any size, where a layer is tried.
UNKNOWN_SIDE = 32
CENTRED = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)


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
    weights_by_layer: dict[str, list[np.ndarray]] = {}
    for folder in dict.fromkeys(path.rpartition("/")[0] for path in grown):
        layers = {path: layer for path, layer in grown.items() if path.rpartition("/")[0] == folder}
        weights_by_layer |= _grown_weights_of_model(owner(model, next(iter(layers))), layers)
    return weights_by_layer


def _grown_weights_of_model(
    model: keras.Model, grown: Mapping[str, keras.Layer]
) -> dict[str, list[np.ndarray]]:
    """Does so for the layers of one model, not of those nested in it."""
    paths = {layer.name: path for path, layer in grown.items()}
    branches = residual_branches(model, set(paths))
    ends = {paths[name]: weights for name, (weights, _) in branches.items()}
    branch_paths = set(ends).union(*({paths[name] for name in names} for _, names in branches.values()))
    return ends | {
        path: identity_weights(path, layer, model)
        for path, layer in grown.items()
        if path not in branch_paths
    }


def residual_branches(model: keras.Model, grown: set[str]) -> dict[str, tuple[list[np.ndarray], set[str]]]:
    """Finds the branches of new layers alone that are added to what a model had.

    Args:
        model: the target; layers inside of nested models are not looked at.
        grown: names of its new layers.

    Returns:
        The last layer with weights of each branch -> the weights with which the branch is 0, and the names of
        the other layers in it.
    """
    makers = producing_calls(model)
    weights_by_layer = {}
    for call in calls(model):
        if _is_sum(call.operation):
            sources = [source for source in call.input_tensors if _branch(source, makers, grown)]
            end = _end(sources[0], makers, grown) if len(sources) == 1 else None
            weights = None if end is None else zero_weights(end)
            if end is not None and weights is not None:
                name = end.operation.name
                weights_by_layer[name] = (weights, set(_branch(sources[0], makers, grown)) - {name})
    return weights_by_layer


def _is_sum(operation: keras.Operation) -> bool:
    """Tells whether this adds: the layer, or a plus between two tensors."""
    return type(operation).__name__ == "Add"


def _branch(source: keras.KerasTensor, makers: Mapping[int, Any], grown: set[str]) -> list[str]:
    """Returns the new layers, from the last one on, between a sum and what was there before."""
    names: list[str] = []
    queue, seen_ids = [source], set()
    while queue:
        tensor = queue.pop(0)
        call = makers.get(id(tensor))
        if call is None or id(tensor) in seen_ids:
            continue
        seen_ids.add(id(tensor))
        weights = getattr(call.operation, "weights", ())
        if _is_sum(call.operation) or (weights and call.operation.name not in grown):
            continue
        if weights:
            names.append(call.operation.name)
        queue += call.input_tensors
    return names


def _end(source: keras.KerasTensor, makers: Mapping[int, Any], grown: set[str]) -> Any:
    """Returns the call of the new layer that makes a branch 0 where it gives 0; None where none does."""
    call = makers.get(id(source))
    if call is None or _is_sum(call.operation):
        return None
    if getattr(call.operation, "weights", ()):
        return call if call.operation.name in grown else None
    for tensor in call.input_tensors:
        end = _end(tensor, makers, grown)
        # Of a product one factor is enough, of a concatenation it is not.
        if end is not None and _gives_zero(call, call.operation, zeros=tensor):
            return end
    return None


def _gives_zero(call: Any, function: Any, zeros: keras.KerasTensor | None = None) -> bool:
    """Tells whether what a call makes is 0 all over, of ones and zeros."""
    values = {
        id(tensor): np.full(_sizes(tensor), float(tensor is not zeros), np.float32)
        for tensor in call.input_tensors
    }
    with suppress(Exception):
        args, kwargs = arguments_with(call, values)
        outputs = keras.tree.flatten(function(*args, **kwargs))
        return not any(np.any(keras.ops.convert_to_numpy(part)) for part in outputs)
    return False


def _sizes(tensor: keras.KerasTensor) -> list[int]:
    batch, *sizes = tensor.shape
    return [batch or 1, *(size or UNKNOWN_SIDE for size in sizes)]


def zero_weights(call: Any) -> list[np.ndarray] | None:
    """Returns the weights with which a layer gives zeros whatever it takes; None where none do.

    Of a layer made of others, such as an attention, those of its last one alone are zero: with zeros
    everywhere none of them would ever get a gradient. Statistics stay as they are.
    """
    layer = call.operation
    for part in [*reversed(all_layers(layer)), layer]:
        zero = {id(weight) for weight in part.weights if not weight.name.startswith("moving_")}
        arrays = {
            id(weight): np.zeros(weight.shape, weight.dtype) if id(weight) in zero else weight.numpy()
            for weight in layer.variables
        }
        if zero and _gives_zero(call, _with_values(layer, arrays)):
            return [arrays[id(weight)] for weight in layer.weights]
    return None


def _with_values(layer: keras.Layer, arrays: Mapping[int, np.ndarray]) -> Any:
    """Returns a layer as a function with other values of its variables, which stay as they are."""

    def function(*args: Any, **kwargs: Any) -> Any:
        trainable_values, other_values = (
            [arrays[id(variable)] for variable in variables]
            for variables in (layer.trainable_variables, layer.non_trainable_variables)
        )
        return layer.stateless_call(trainable_values, other_values, *args, **kwargs)[0]

    return function


def identity_weights(path: str, layer: keras.Layer, model: keras.Model) -> list[np.ndarray]:
    """Returns the weights with which a layer gives what it takes.

    Args:
        path: what the layer is called.
        layer: a convolution or a dense layer, as wide as what it takes, or a transformer layer.
        model: what it is part of, for what comes before it may hold values that its activation cuts off.

    Raises:
        UserError: for a layer that cannot do so.
    """
    if is_encoder(layer):
        return branchless_weights(layer)
    shapes = weight_shapes(layer)
    kernel_shape = shapes[0]
    function = getattr(layer, "activation", keras.activations.linear)
    activation = activation_name(function) or str(getattr(function, "__name__", function))
    if not _may_be_identity(layer, kernel_shape) or activation_name(function) not in IDEMPOTENT_ACTIVATIONS:
        raise UserError(
            f"layer {path!r} ({type(layer).__name__}, kernel {kernel_shape}, activation {activation}) "
            "cannot be grown as an identity",
            "use `growth=random` or leave it out",
        )
    if _cuts(layer, activation, model):
        raise UserError(
            f"layer {path!r} cannot be grown as an identity: its activation {activation} cuts off values "
            "that what comes before it may give",
            "use `growth=random`, or a linear activation",
        )
    kernel = np.zeros(kernel_shape, np.float32)
    centre = tuple(size // 2 for size in kernel_shape[:-2])
    kernel[centre] = np.eye(kernel_shape[-1], dtype=np.float32)
    return [kernel] + [np.zeros(shape, np.float32) for shape in shapes[1:]]


def _may_be_identity(layer: keras.Layer, kernel: tuple[int, ...]) -> bool:
    """Tells whether a layer gives as many numbers as it takes, at the same positions."""
    return (
        isinstance(layer, CENTRED)
        and kernel[-2] == kernel[-1]
        and all(size % 2 == 1 for size in kernel[:-2])
        and (getattr(layer, "padding", "same") == "same" or set(kernel[:-2]) == {1})
        and set(np.ravel(getattr(layer, "strides", 1))) == {1}
    )


def _cuts(layer: keras.Layer, activation: str, model: keras.Model) -> bool:
    """Tells whether what comes into a layer, wherever it is called, may lie outside of its activation."""
    makers = producing_calls(model)
    inputs = [tensor for call in calls(model) if call.operation is layer for tensor in call.input_tensors]
    lowest, highest = ACTIVATIONS.get(activation, ANY)
    ranges = [value_range(tensor, makers) for tensor in inputs] or [ANY]
    return any(low < lowest or high > highest for low, high in ranges)

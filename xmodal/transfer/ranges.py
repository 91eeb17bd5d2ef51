"""Between which numbers the tensors of a network lie, so that an activation behind one cuts off nothing."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from xmodal.kernels.layers import calls

Range = tuple[float, float]
ANY: Range = (-np.inf, np.inf)
# What activations give, by their names in Keras.
ACTIVATIONS: dict[str, Range] = {
    "relu": (0, np.inf),
    "relu6": (0, 6),
    "sigmoid": (0, 1),
    "hard_sigmoid": (0, 1),
    "softmax": (0, 1),
    "softplus": (0, np.inf),
    "exponential": (0, np.inf),
}
# What gives nothing outside of the range of what it takes.
KEEPING = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.Identity,
    keras.layers.Concatenate,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Average,
)


def producing_calls(model: keras.Model) -> dict[int, Any]:
    """Returns the call that makes each tensor of a model, by the tensor's `id`."""
    return {id(tensor): call for call in calls(model) for tensor in call.output_tensors}


def value_range(tensor: keras.KerasTensor, makers: Mapping[int, Any]) -> Range:
    """Returns the least and the most that a tensor of a model may hold, as far as its layers tell.

    Args:
        tensor: of the model.
        makers: see `producing_calls`.

    Example:
        >>> inputs = keras.Input((2,))
        >>> model = keras.Model(inputs, keras.layers.ReLU(max_value=6)(inputs))
        >>> value_range(model.output, producing_calls(model))
        (0, 6.0)
    """
    call = makers.get(id(tensor))
    if call is None:
        return ANY
    layer = call.operation
    if isinstance(layer, keras.Model):
        inner = [id(output) for output in call.output_tensors].index(id(tensor))
        outputs = keras.tree.flatten(getattr(layer, "outputs", None) or [])
        return value_range(outputs[inner], producing_calls(layer)) if outputs else ANY
    if isinstance(layer, keras.layers.ReLU):
        return ANY if layer.negative_slope else (0, np.inf if layer.max_value is None else layer.max_value)
    if isinstance(layer, KEEPING):
        return _span([value_range(source, makers) for source in call.input_tensors])
    return _activation_range(call, makers)


def _activation_range(call: Any, makers: Mapping[int, Any]) -> Range:
    layer = call.operation
    activation = getattr(layer, "activation", None)
    if activation is keras.activations.linear and isinstance(layer, keras.layers.Activation):
        return value_range(call.input_tensors[0], makers)
    # An operation such as `keras.ops.relu` is called as the function is.
    name = type(layer).__name__.lower() if activation is None else activation_name(activation)
    return ACTIVATIONS.get(name, ANY)


def activation_name(activation: Any) -> str:
    """Returns what Keras calls one of its own activations; "" for another one, whatever its name is."""
    name = getattr(activation, "__name__", "")
    return name if getattr(keras.activations, name or "_", None) is activation else ""


def _span(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)

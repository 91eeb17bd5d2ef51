"""How layers that are new in a target start: as the identity, by the type of the layer."""

from typing import Literal

import keras
import numpy as np

from xmodal.core.errors import UserError

Growth = Literal["identity", "random"]
# relu(relu(x)) = relu(x): after one of these, a layer that passes its input on changes nothing.
IDEMPOTENT_ACTIVATIONS = ("linear", "relu", "relu6")


def weight_shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    """Returns the shapes of a layer's weights."""
    return [tuple(weight.shape) for weight in layer.weights]


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

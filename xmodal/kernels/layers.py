"""All layers of a model, for which Keras has no public function."""

import keras


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Returns every layer of a model, those inside other layers and models too, in their order.

    `model.layers` has the outermost ones alone: not the dense layers of a transformer layer.

    Example:
        >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")])
        >>> [layer.name for layer in all_layers(keras.Sequential([inner])) if layer.name == "dense"]
        ['dense']
    """
    return list(model._flatten_layers(include_self=False))

"""Layers of a model and tensors of a layer, for which Keras has no public function."""

import keras


def all_layers(model: keras.Layer) -> list[keras.Layer]:
    """Returns every layer of a model or layer, those inside of others too, in their order.

    `model.layers` has the outermost ones alone: not the dense layers of a transformer layer.

    Example:
        >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")])
        >>> [layer.name for layer in all_layers(keras.Sequential([inner])) if layer.name == "dense"]
        ['dense']
    """
    return list(model._flatten_layers(include_self=False))


def operations(model: keras.Model) -> list[keras.Operation]:
    """Returns the layers of a functional model and the operations between them, such as "+"."""
    return list(getattr(model, "operations", model.layers))


def producers(model: keras.Model) -> dict[int, keras.Operation]:
    """Returns what makes each tensor of a functional model, by the tensor's `id`."""
    return {
        id(tensor): operation
        for operation in operations(model)
        for node in operation._inbound_nodes[:1]
        for tensor in node.output_tensors
    }


def tensors_read(operation: keras.Operation) -> list[keras.KerasTensor]:
    """Returns what a layer of a functional model reads; `layer.input` of a model inside of it is its own."""
    return [tensor for node in operation._inbound_nodes[:1] for tensor in node.input_tensors]


def tensor_made(operation: keras.Operation) -> keras.KerasTensor:
    """Returns the first tensor that a layer of a functional model makes."""
    return operation._inbound_nodes[0].output_tensors[0]

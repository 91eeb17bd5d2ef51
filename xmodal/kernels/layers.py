"""Layers of a model and tensors of a layer, for which Keras has no public function."""

from collections.abc import Mapping
from typing import Any

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


def forget_vocabulary(lookup: keras.Layer) -> None:
    """Makes a StringLookup, an IntegerLookup or a TextVectorization what it was before it was adapted."""
    inner = getattr(lookup, "_lookup_layer", lookup)
    inner.lookup_table = inner._uninitialized_lookup_table()
    inner._frozen_vocab_size = None


def operations(model: keras.Model) -> list[keras.Operation]:
    """Returns the layers of a functional model and the operations between them, such as "+"."""
    return list(getattr(model, "operations", model.layers))


def calls(model: keras.Model) -> list[Any]:
    """Returns the calls (nodes) of layers and operations that make up a model; none where it is no graph."""
    graph = getattr(model, "_functional", None) or model
    nodes_by_depth = getattr(graph, "_nodes_by_depth", {})
    return [node for depth in sorted(nodes_by_depth, reverse=True) for node in nodes_by_depth[depth]]


def arguments_with(call: Any, values: Mapping[int, Any]) -> tuple[tuple, dict[str, Any]]:
    """Returns the arguments of a call with values, by the tensors' `id`, in the place of its tensors."""
    return call.arguments.fill_in(values)


def constants_read(call: Any) -> list[Any]:
    """Returns what a call takes that no other makes: the 255 of "x / 255"."""
    arguments = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    return [value for value in arguments if value is not None and not isinstance(value, keras.KerasTensor)]


def producers(model: keras.Model) -> dict[int, keras.Operation]:
    """Returns what makes each tensor of a functional model, by the tensor's `id`."""
    return {id(tensor): call.operation for call in calls(model) for tensor in call.output_tensors}


def tensors_read(operation: keras.Operation) -> list[keras.KerasTensor]:
    """Returns what a layer of a functional model reads; `layer.input` of a model inside of it is its own."""
    return [tensor for node in operation._inbound_nodes[:1] for tensor in node.input_tensors]


def tensor_made(operation: keras.Operation) -> keras.KerasTensor:
    """Returns the first tensor that a layer of a functional model makes."""
    return operation._inbound_nodes[0].output_tensors[0]

"""Models that are opened where their answers can be explained: at maps of an image, at vectors of tokens."""

from contextlib import suppress
from typing import Any

import keras

from xmodal.kernels.layers import calls
from xmodal.models.feature_layers import is_map

# Fewer positions along a side would say little of where something is.
LEAST_SIDE = 4
# Fewer channels are an image and no features of it.
COLOURS = 3


def with_maps(model: keras.Model) -> keras.Model | None:
    """Lets a model of images give maps of features too, the last ones of enough positions.

    Args:
        model: images (B, H, W, 3) -> numbers (B, C); functional, and may have the network inside of it.

    Returns:
        Images -> maps (B, h, w, F) and the numbers, of the network that has the maps; None without maps.
    """
    maps = _maps(model)
    if maps:
        # The last of those that are fine enough, or of the finest where none is.
        order = sorted(range(len(maps)), key=lambda index: (min(_side(maps[index]), LEAST_SIDE), index))
        # Not `input`: of a Sequential that was called, that is what it was called with.
        outputs = [maps[order[-1]], model.outputs[0]]
        return keras.Model(model.inputs[0], outputs, name=f"{model.name}_with_maps")
    inner = [
        call
        for call in calls(model)
        if isinstance(call.operation, keras.Model) and is_map(call.operation.inputs[0])
    ]
    map_model = with_maps(inner[0].operation) if inner else None
    if map_model is None or len(inner) > 1 or len(model.inputs[0].shape) != 4:
        # A network that looks at several views or windows, and gives the numbers for each.
        return map_model
    return _with_rest(model, inner[0], map_model)


def _with_rest(model: keras.Model, call: Any, map_model: keras.Model) -> keras.Model | None:
    """Puts what comes before and after a network inside of a model around it; None where that reads more."""
    images = inputs = model.inputs[0]
    with suppress(ValueError):
        if call.input_tensors[0] is not images:
            inputs = keras.Model(images, call.input_tensors[0])(images)
        maps, outputs = map_model(inputs)
        if call.output_tensors[0] is not model.outputs[0]:
            outputs = keras.Model(call.output_tensors[0], model.outputs[0])(outputs)
        return keras.Model(images, [maps, outputs], name=f"{model.name}_with_maps")
    return None


def at_embeddings(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Cuts a model of texts behind the layer that turns tokens into vectors.

    Args:
        model: token_ids (B, T), and what else is read of a text -> numbers.

    Returns:
        A model token_ids -> vectors (B, T, D), and one of a list, these and what else is read in the order
        of the names -> the numbers; None when tokens are read in more than one place.
    """
    token_ids = model.input["token_ids"]
    tokens, vectors = {id(token_ids)}, []
    for call in calls(model):
        if any(id(tensor) in tokens for tensor in call.input_tensors):
            for tensor in call.output_tensors:
                if "float" in str(tensor.dtype) and len(tensor.shape) == 3:
                    vectors.append(tensor)
                else:
                    tokens.add(id(tensor))
    if len(vectors) != 1:
        return None
    other_inputs = [tensor for name, tensor in sorted(model.input.items()) if name != "token_ids"]
    rest = keras.Model([vectors[0], *other_inputs], model.output, name=f"{model.name}_of_vectors")
    return keras.Model(token_ids, vectors[0], name="embeddings"), rest


def _maps(model: keras.Model) -> list[keras.KerasTensor]:
    return [
        tensor
        for call in calls(model)
        if not isinstance(call.operation, keras.layers.InputLayer)
        for tensor in call.output_tensors
        if is_map(tensor) and tensor.shape[-1] is not None and tensor.shape[-1] > COLOURS
    ]


def _side(maps: keras.KerasTensor) -> int:
    return min(side or LEAST_SIDE for side in maps.shape[1:3])

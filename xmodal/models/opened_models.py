"""Models that are opened where their answers can be explained: at maps of an image, at vectors of tokens."""

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
        order = sorted(range(len(maps)), key=lambda place: (min(_side(maps[place]), LEAST_SIDE), place))
        return keras.Model(model.input, [maps[order[-1]], model.output], name=f"{model.name}_with_maps")
    inner = (layer for layer in model.layers if isinstance(layer, keras.Model) and is_map(layer.inputs[0]))
    network = next(inner, None)
    return with_maps(network) if network else None


def at_embeddings(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Cuts a model of texts behind the layer that turns tokens into vectors.

    Args:
        model: token_ids (B, T), and what else is read of a text -> numbers.

    Returns:
        A model token_ids -> vectors (B, T, D), and one of a list, these and what else is read in the order
        of the names -> the numbers; None when tokens are read in more than one place.
    """
    token_ids = model.input["token_ids"]
    tokens, embedded = {id(token_ids)}, []
    for call in calls(model):
        if any(id(tensor) in tokens for tensor in call.input_tensors):
            for tensor in call.output_tensors:
                if "float" in str(tensor.dtype) and len(tensor.shape) == 3:
                    embedded.append(tensor)
                else:
                    tokens.add(id(tensor))
    if len(embedded) != 1:
        return None
    others = [tensor for name, tensor in sorted(model.input.items()) if name != "token_ids"]
    rest = keras.Model([embedded[0], *others], model.output, name=f"{model.name}_of_vectors")
    return keras.Model(token_ids, embedded[0], name="embeddings"), rest


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

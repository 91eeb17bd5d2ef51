"""How transformer layers that are new in a target start: as the identity."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.kernels.layers import calls
from xmodal.transfer.roles import owner

# The last layers of the two branches that are added to what a transformer layer takes.
ENDS = ("attention_output", "feedforward_output_dense")
NORMS = ("self_attention_layer_norm", "feedforward_layer_norm")
# What lies between layers and passes on what it takes, but in training.
OF_TRAINING = (keras.layers.Dropout, keras.layers.Identity)


def is_encoder(layer: keras.Layer) -> bool:
    """Tells whether this is a transformer layer of KerasHub, which attends to the whole text."""
    return any(kind.__name__ == "TransformerEncoder" for kind in type(layer).__mro__)


def branchless_weights(layer: keras.Layer) -> list[np.ndarray]:
    """Returns the weights with which a transformer layer adds nothing to what it takes.

    The ends of both branches are zero (LEMON: Wang et al. 2024, arXiv:2310.07999). Layer norms that come
    after the sums, as in BERT, only normalise: see `move_norms` for the scale of what they take.
    """
    return [_value(weight, layer) for weight in layer.weights]


def _value(weight: Any, layer: keras.Layer) -> np.ndarray:
    part, name = weight.path.split("/")[-2:]
    if part in ENDS or (part in NORMS and name == "beta" and not layer.normalize_first):
        return np.zeros(weight.shape, np.float32)
    if part in NORMS and not layer.normalize_first:
        return np.ones(weight.shape, np.float32)
    return np.asarray(weight)


def move_norms(model: keras.Model, grown: Mapping[str, keras.Layer]) -> dict[str, str]:
    """Moves the scale of the layer norm before new transformer layers to the end of these.

    A layer norm of what was normalised already changes nothing, but one of what was scaled afterwards does:
    so what comes before the new layers only normalises from now on, and the last of them scales.

    Args:
        model: the target, which has the weights of its source; its new transformer layers are `branchless`.
        grown: its new layers, by their paths.

    Returns:
        Path of each layer whose scale was moved -> path of the layer that has it now.

    Raises:
        UserError: when something else reads what stands before new layers, or it is no layer norm.
    """
    new_layers = {
        path: layer for path, layer in grown.items() if is_encoder(layer) and not layer.normalize_first
    }
    scale_paths: dict[str, str] = {}
    for path, layer in new_layers.items():
        folder = path.rpartition("/")[0]
        norm = _preceding_norm(path, owner(model, path))
        scale = _scale(norm)
        for weight, values, default in zip(_scale(layer), scale, (1.0, 0.0), strict=True):
            weight.assign(values)
            values.assign(np.full(values.shape, default, np.float32))
        origin = f"{folder}/{norm.name}".lstrip("/")
        scale_paths[next((first for first, last in scale_paths.items() if last == origin), origin)] = path
    return scale_paths


def _preceding_norm(path: str, model: keras.Model) -> keras.Layer:
    """Returns the layer whose norm a new transformer layer takes."""
    makers = {id(tensor): call for call in calls(model) for tensor in call.output_tensors}
    [encoder_call] = [call for call in calls(model) if call.operation.name == path.rpartition("/")[2]]
    tensor = encoder_call.input_tensors[0]
    while True:
        readers = sum(any(tensor is other for other in call.input_tensors) for call in calls(model))
        if readers > 1 or any(tensor is output for output in keras.tree.flatten(model.outputs)):
            raise UserError(
                f"layer {path!r} cannot be grown as an identity: other layers read what comes before it too",
                "use `growth=random`, or put it where nothing else reads",
            )
        call = makers.get(id(tensor))
        if call is None or not isinstance(call.operation, OF_TRAINING):
            break
        tensor = call.input_tensors[0]
    layer = None if call is None else call.operation
    if layer is not None and (
        isinstance(layer, keras.layers.LayerNormalization)
        or (is_encoder(layer) and not layer.normalize_first)
    ):
        return layer
    raise UserError(
        f"layer {path!r} cannot be grown as an identity: what comes before it is not normalised",
        "use `growth=random`, or put it behind a layer norm",
    )


def _scale(layer: keras.Layer) -> list[Any]:
    """Returns the gamma and the beta with which a layer ends."""
    if not is_encoder(layer):
        return [layer.gamma, layer.beta]
    weight_by_path = {tuple(weight.path.split("/")[-2:]): weight for weight in layer.weights}
    return [weight_by_path[NORMS[1], name] for name in ("gamma", "beta")]

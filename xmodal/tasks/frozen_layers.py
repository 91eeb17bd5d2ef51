"""The frozen layers of a text model, run once for all epochs, apart from those that learn."""

import keras
import numpy as np

from xmodal.data.batches import array_batches
from xmodal.kernels.layers import calls
from xmodal.training.replicas import map_over_replicas
from xmodal.training.trainer import Trainer

# Bytes of what frozen layers make of all texts that are held while the other layers learn.
MAX_KEPT = 2**28


def split_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Splits a text model where its first layer that learns begins.

    What the frozen layers give is the same in every epoch, and can be computed once.

    Args:
        model: a flat model, inputs with padding_mask (B, T) among them -> outputs (B, ...).

    Returns:
        A model of the frozen layers, inputs -> tensors by their names, and one of the others, these tensors
        -> outputs, which share the model's weights. None where nothing but inputs is frozen, or where what
        the frozen layers give is not one vector for each token, and so cannot be cut to the longest text of
        a batch.

    Example:
        >>> encoder = text_encoder("bert", sequence_length=16)
        >>> model, tokens = text_classifier(encoder.model, 3), encoder.padded(["a cat", "a dog"])
        >>> set_trainable(encoder.model, "transformer_layer_0")
        >>> frozen_model, upper_model = split_frozen(model)
        >>> upper_model(frozen_model(tokens)).shape
        TensorShape([2, 3])
    """
    learned_ids: set[int] = set()
    boundary: dict[str, keras.KerasTensor] = {}
    for call in calls(model):
        call_inputs, variables = call.input_tensors, getattr(call.operation, "trainable_variables", ())
        if variables or any(id(tensor) in learned_ids for tensor in call_inputs):
            boundary |= {tensor.name: tensor for tensor in call_inputs if id(tensor) not in learned_ids}
            learned_ids |= {id(tensor) for tensor in call.output_tensors}
    inputs = {id(tensor) for tensor in model.inputs}
    outputs = [tensor for tensor in boundary.values() if id(tensor) not in inputs]
    if not outputs or any(tensor.ndim != 3 or tensor.shape[1] is not None for tensor in outputs):
        return None
    return keras.Model(model.input, boundary), keras.Model(boundary, model.output, name=model.name)


def run_frozen_layers(
    model: keras.Model, parts: dict[str, dict[str, np.ndarray]], trainer: Trainer
) -> tuple[keras.Model, dict[str, dict[str, np.ndarray]]]:
    """Runs the frozen layers of a model over texts, as in inference: without dropout.

    Args:
        model: the encoder's inputs -> logits (B, C).
        parts: names -> inputs of texts, each (N, T).
        trainer: runs it.

    Returns:
        A model of the other layers, and what these read of the texts; model and parts as they are where it
        cannot be split, or more than `MAX_KEPT` bytes would be held.
    """
    halves = split_frozen(model)
    if halves is None:
        return model, parts
    frozen_model, upper_model = halves
    masks = [part["padding_mask"] for part in parts.values()]
    numbers = sum(tensor.shape[-1] for tensor in frozen_model.output.values() if tensor.ndim == 3)
    if 4 * numbers * sum(mask.size for mask in masks) > MAX_KEPT:
        return model, parts
    names = list(frozen_model.output)

    def run_frozen(batch):
        outputs = frozen_model(batch[0], training=False)
        return tuple(outputs[name] for name in names)

    run = map_over_replicas(run_frozen, trainer.strategy)

    def compute(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run(array_batches(part, batch_size=64))
        return dict(zip(names, outputs, strict=True))

    return upper_model, {name: compute(part) for name, part in parts.items()}

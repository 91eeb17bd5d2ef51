"""The frozen layers of a text model, run once for all epochs, apart from those that learn."""

import keras
import numpy as np

from xmodal.data.batches import array_batches
from xmodal.kernels.layers import calls
from xmodal.training.replicas import mapped
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
        >>> frozen, learned = split_frozen(model)
        >>> learned(frozen(tokens)).shape
        TensorShape([2, 3])
    """
    learned: set[int] = set()
    given: dict[str, keras.KerasTensor] = {}
    for call in calls(model):
        read, learns = call.input_tensors, getattr(call.operation, "trainable_variables", ())
        if learns or any(id(tensor) in learned for tensor in read):
            given |= {tensor.name: tensor for tensor in read if id(tensor) not in learned}
            learned |= {id(tensor) for tensor in call.output_tensors}
    inputs = {id(tensor) for tensor in model.inputs}
    computed = [tensor for tensor in given.values() if id(tensor) not in inputs]
    if not computed or any(tensor.ndim != 3 or tensor.shape[1] is not None for tensor in computed):
        return None
    return keras.Model(model.input, given), keras.Model(given, model.output, name=model.name)


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
    frozen, learned = halves
    masks = [part["padding_mask"] for part in parts.values()]
    numbers = sum(tensor.shape[-1] for tensor in frozen.output.values() if tensor.ndim == 3)
    if 4 * numbers * sum(mask.size for mask in masks) > MAX_KEPT:
        return model, parts
    names = list(frozen.output)

    def read(batch):
        outputs = frozen(batch[0], training=False)
        return tuple(outputs[name] for name in names)

    run = mapped(read, trainer.strategy)

    def kept(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run(array_batches(part, batch_size=64))
        return dict(zip(names, outputs, strict=True))

    return learned, {name: kept(part) for name, part in parts.items()}

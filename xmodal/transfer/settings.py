"""What two networks compute differently whatever their weights are: the settings of their layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from xmodal.core.formatting import truncate
from xmodal.kernels.layers import arguments_with, calls, constants_read
from xmodal.transfer.state import OwnWeights, holds_state

# Settings that change nothing of what a layer computes, and those that are copied.
OF_NO_EFFECT = (
    "name",
    "trainable",
    "dtype",
    "seed",
    "registered_name",
    "build_config",
    "quantization_config",
)
COPIED = ("vocabulary", "vocabulary_size", "idf_weights", "bin_boundaries", "num_bins")
MADE_ONCE = ("_initializer", "_regularizer", "_constraint")
# What passes its input on, but in training.
OF_TRAINING = ("InputLayer", "Identity", "ActivityRegularization", "StochasticDepth", "DropPath")
# Their numbers are weights that cannot be copied: those of no other layer make up for them.
SCALES = (keras.layers.Rescaling, keras.layers.Normalization)
MAX_LETTERS = 40


@dataclass(frozen=True)
class Step:
    """What a model does with its tensors without holding anything.

    Attributes:
        path: of the layer or operation.
        kind: its type, settings and constants.
        scales: whether numbers of its own change what it takes.
        call: where it is called in a graph, None in another model.
    """

    path: str
    kind: str
    scales: bool
    call: Any


def settings(layer: keras.Operation) -> dict[str, Any]:
    """Returns the settings of a layer that change what it computes, apart from what is copied.

    Example:
        >>> settings(keras.layers.Rescaling(0.5))
        {'type': 'Rescaling', 'scale': 0.5, 'offset': 0.0}
    """
    config: dict[str, Any] = {}
    with suppress(Exception):  # A layer without `get_config` tells nothing.
        config = layer.get_config()
    ignored_keys = (*OF_NO_EFFECT, *COPIED) if holds_state(layer) else OF_NO_EFFECT
    return {"type": type(layer).__name__} | _effective_settings(config, ignored_keys)


def _effective_settings(config: Mapping[str, Any], ignored_keys: Iterable[str]) -> dict[str, Any]:
    return {
        key: _effective_settings(value, ignored_keys) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in ignored_keys and not key.endswith(MADE_ONCE)
    }


def different_settings(
    path: str, source: keras.Layer | OwnWeights, target: keras.Layer | OwnWeights
) -> list[str]:
    """Tells which settings of a copied layer are others in the target: "conv1 (activation: relu, gelu)"."""
    if isinstance(source, OwnWeights) or isinstance(target, OwnWeights):
        return []
    source_settings, target_settings = settings(source), settings(target)
    pairs = {
        key: (source_settings.get(key), target_settings.get(key)) for key in source_settings | target_settings
    }
    return [
        f"{path} ({key}: {', '.join(truncate(str(value), MAX_LETTERS) for value in pair)})"
        for key, pair in pairs.items()
        if repr(pair[0]) != repr(pair[1])
    ]


def unpaired_steps(
    source: keras.Model,
    target: keras.Model,
    *,
    ignored: tuple[Callable[[str], bool], Callable[[str], bool]],
    grown: bool,
    resized: bool = False,
) -> list[str]:
    """Tells which steps without weights are in one of the models alone, such as a Rescaling.

    Args:
        source, target: the models.
        ignored: which paths of each are not looked at.
        grown: whether the target has new layers: further steps may belong to these, but those that scale.
        resized: whether layers are of another width, and with them the shapes that tensors are brought into.
    """
    source_steps, target_steps = (
        [step for step in _steps(model) if not skip(step.path)]
        for model, skip in zip((source, target), ignored, strict=True)
    )
    _drop_pairs(source_steps, target_steps, lambda one, other: one.kind == other.kind)
    _drop_pairs(source_steps, target_steps, _same_function)
    if resized:
        _drop_pairs(source_steps, target_steps, lambda one, other: _type(one) == _type(other) == "Reshape")
    extra_steps = [step for step in target_steps if step.scales or not grown]
    return [
        f"{step.path} of {model.name} ({truncate(step.kind, MAX_LETTERS)})"
        for model, steps in ((source, source_steps), (target, extra_steps))
        for step in steps
    ]


def _steps(model: keras.Model, path: str = "") -> Iterator[Step]:
    """Yields the steps of a model and those nested in it."""
    graph = [(call.operation, call) for call in calls(model)]
    for operation, call in graph or [(layer, None) for layer in model.layers]:
        step_path = path + operation.name
        if isinstance(operation, keras.Model):
            yield from _steps(operation, f"{step_path}/")
        elif not _holds_something(operation) and not _of_training(type(operation).__name__):
            constants = [] if call is None else constants_read(call)
            kind = ", ".join(map(str, [*settings(operation).values(), *constants]))
            yield Step(step_path, kind, isinstance(operation, SCALES) or bool(constants), call)


def _holds_something(operation: keras.Operation) -> bool:
    return bool(getattr(operation, "weights", ())) or holds_state(operation)


def _of_training(kind: str) -> bool:
    return kind in OF_TRAINING or kind.startswith(("Random", "Gaussian")) or "Dropout" in kind


def _drop_pairs(
    source_steps: list[Step], target_steps: list[Step], is_pair: Callable[[Step, Step], bool]
) -> None:
    """Removes from both lists each step that has its like in the other one."""
    for step in list(source_steps):
        match = next((other for other in target_steps if is_pair(step, other)), None)
        if match is not None:
            source_steps.remove(step)
            target_steps.remove(match)


def _type(step: Step) -> str:
    return step.kind.split(", ")[0]


def _same_function(one: Step, other: Step) -> bool:
    """Tells whether two steps of one type give the same: the preparations for VGG16 and VGG19 do."""
    if one.call is None or other.call is None or _type(one) != _type(other):
        return False
    with suppress(Exception):
        pairs = zip(_call_outputs(one.call), _call_outputs(other.call), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)
    return False


def _call_outputs(call: Any) -> list[np.ndarray]:
    """Returns what a call makes of numbers of the size of pixels."""
    rng = np.random.default_rng(0)
    values = {
        id(tensor): rng.uniform(0, 255, [side or 1 for side in tensor.shape]).astype(np.float32)
        for tensor in call.input_tensors
    }
    args, kwargs = arguments_with(call, values)
    outputs = keras.tree.flatten(call.operation(*args, **kwargs))
    return [keras.ops.convert_to_numpy(part) for part in outputs]

"""Which channels of a source network those of a wider or narrower target stand for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from xmodal.core.errors import UserError
from xmodal.kernels.layers import calls
from xmodal.transfer.axes import Axes, rule_of
from xmodal.transfer.groups import Channels, Group, merge, size

# Operations without weights that treat each channel alone, and leave the channels in their order.
BY_CHANNEL = {
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Relu", "Relu6", "Gelu", "Silu", "Sigmoid", "Tanh", "Elu"),
    *("HardSigmoid", "HardSwish", "HardSilu", "Dropout", "StochasticDepth", "DropPath", "GaussianNoise"),
    *("Identity", "Rescaling", "Reshape", "GetItem", "Mean", "Max"),
}
# Those that have a name for each number of dimensions: MaxPooling2D.
SPATIAL = re.compile(r"(SpatialDropout|ZeroPadding|Cropping|UpSampling|(Global)?(Max|Average)Pooling)[123]D")
# Those that take several tensors, channel by channel.
MERGES = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Divide", "TrueDivide")


@dataclass
class Tracing:
    """What is known of a target's channels.

    Attributes:
        sources: target path -> the layer whose weights it gets, resized or not.
        grown: paths of new layers.
        tensors: `id` of a tensor of the target -> its channels.
        axes: path of each layer of `sources` for which there is a rule -> what the axes of its weights are.
        called: path -> what a layer took and gave when it was called first.
    """

    sources: Mapping[str, keras.Layer]
    grown: frozenset[str]
    tensors: dict[int, Channels] = field(default_factory=dict)
    axes: dict[str, Axes] = field(default_factory=dict)
    called: dict[str, tuple[Channels, Channels]] = field(default_factory=dict)


def trace_channels(
    target: keras.Model, sources: Mapping[str, keras.Layer], grown: Sequence[str]
) -> tuple[dict[str, Axes], list[Channels]]:
    """Follows the channels of a target from its inputs to its outputs.

    Args:
        target: a functional model.
        sources: target path -> the layer whose weights it gets.
        grown: paths of its new layers, which pass on what they take.

    Returns:
        Path -> for each weight of the layer, what each of its axes is; and the channels of each output.

    Raises:
        UserError: where channels that stand for others come to a layer that mixes or needs all of them.
    """
    if not calls(target):
        raise UserError(
            f"{target.name!r} is no functional model, so what its layers read is not known",
            "only a functional or sequential model can be wider or narrower than its source",
        )
    tracing = Tracing(sources, frozenset(grown))
    outputs = _trace(tracing, target, "", [_unchanged_channels(size_of(tensor)) for tensor in target.inputs])
    return tracing.axes, outputs


def size_of(tensor: keras.KerasTensor) -> int:
    """Returns how many channels a tensor has: its last axis; 1 where that is not known."""
    return (tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1


def _unchanged_channels(count: int) -> Channels:
    return (Group(count, count),)


def _trace(tracing: Tracing, model: keras.Model, folder: str, inputs: Sequence[Channels]) -> list[Channels]:
    """Follows the channels through a model, and returns those of its outputs."""
    for tensor, channels in zip(model.inputs, inputs, strict=True):
        tracing.tensors[id(tensor)] = channels
    for call in calls(model):
        if not isinstance(call.operation, keras.layers.InputLayer):
            call_inputs = [tracing.tensors[id(tensor)] for tensor in call.input_tensors]
            call_outputs = _follow_call(tracing, call, folder + call.operation.name, call_inputs)
            tracing.tensors |= {
                id(tensor): call_outputs[min(index, len(call_outputs) - 1)]
                for index, tensor in enumerate(call.output_tensors)
            }
    return [tracing.tensors[id(tensor)] for tensor in keras.tree.flatten(model.outputs)]


def _follow_call(tracing: Tracing, call: Any, path: str, inputs: list[Channels]) -> list[Channels]:
    """Returns the channels of what a call makes."""
    operation = call.operation
    if isinstance(operation, keras.Model) and calls(operation):
        return _trace(tracing, operation, f"{path}/", inputs)
    count = size_of(call.output_tensors[0])
    if getattr(operation, "weights", ()):
        return [_follow_layer(tracing, operation, path, inputs, count)]
    return [_follow_operation(operation, path, call, inputs, count)]


def _follow_layer(
    tracing: Tracing, layer: keras.Layer, path: str, inputs: list[Channels], count: int
) -> Channels:
    source = tracing.sources.get(path)
    rule = rule_of(layer)
    if path in tracing.called:
        first_input, output = tracing.called[path]
        merge(first_input, inputs[0])
        return output
    if source is not None and rule is not None:
        axes, output = rule(source, layer, inputs[0])
        tracing.axes[path] = axes
    elif path in tracing.grown:
        # As wide as what it takes: it passes that on. Of another width: it is part of a new branch.
        output = inputs[0] if size(inputs[0]) == count else (Group(None, count),)
    else:
        _require_unchanged(path, layer, inputs if source is not None else [])
        output = _unchanged_channels(count)
    tracing.called[path] = (inputs[0], output)
    return output


def _follow_operation(operation: Any, path: str, call: Any, inputs: list[Channels], count: int) -> Channels:
    kind = type(operation).__name__
    candidates = [channels for channels in inputs if size(channels) == count]
    if candidates and (
        kind in MERGES or (len(inputs) == 1 and (kind in BY_CHANNEL or SPATIAL.fullmatch(kind)))
    ):
        for other in candidates[1:]:
            merge(candidates[0], other)
        return candidates[0]
    if kind == "Concatenate" and operation.axis in (-1, len(call.output_tensors[0].shape) - 1):
        return tuple(group for channels in inputs for group in channels)
    if kind == "Flatten" and getattr(operation, "data_format", "") != "channels_first":
        return inputs[0] * (count // size(inputs[0]))
    _require_unchanged(path, operation, inputs)
    return _unchanged_channels(count)


def _require_unchanged(path: str, operation: Any, inputs: Sequence[Channels]) -> None:
    for group in (group.root() for channels in inputs for group in channels):
        if group.source not in (None, group.target):
            raise UserError(
                f"what {path!r} ({type(operation).__name__}) takes has {group.target} channels in the place "
                f"of {group.source}, and it is not known how it treats them",
                "use `growth=random`, or networks that are as wide up to there",
            )

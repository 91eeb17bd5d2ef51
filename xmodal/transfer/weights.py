"""Weights copied layer by layer from one Keras model into another, with an account of each layer."""

import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import keras
import numpy as np

from xmodal.core.errors import UserError, nearest
from xmodal.core.formatting import first_few, truncate
from xmodal.transfer.growth import Growth, grown_weights
from xmodal.transfer.matching import MAX_LAYERS, Plan, is_declared, make_plan
from xmodal.transfer.resizing import resize_weights
from xmodal.transfer.settings import different_settings, unpaired_steps
from xmodal.transfer.state import give_state, layer_state
from xmodal.transfer.transformers import move_norms

# What may become of a layer.
Action = Literal["copied", "resized", "grown", "left"]
# Of what Keras says of a layer or a probe.
MAX_LETTERS = 200


@dataclass(frozen=True)
class LayerTransfer:
    """What became of one target layer.

    Attributes:
        target: path of the layer in the target, nested models separated by "/".
        source: path of the layer its weights came from, None when none did.
        action: "copied", "resized" (made wider or narrower), "grown" (new in the target, by `rule`) or "left"
            (declared as not transferred).
        rule: how the weights were found.
        parameters: the number of scalars in the layer.
        sha256: digest over the layer's weights, and its vocabulary or bins, after the transfer.
    """

    target: str
    source: str | None
    action: Action
    rule: str
    parameters: int
    sha256: str


@dataclass(frozen=True)
class TransferReport:
    """An account of a transfer.

    Attributes:
        source_model, target_model: the models' names.
        growth: the rule for layers that are new in the target.
        layers: one entry for each target layer with weights, in the target's order.
        unmatched_source: source layers with no place in the target, all of them declared in `drop`.
        max_abs_difference: largest absolute difference between the outputs of both models on the
            probe batch after the transfer, None without a probe; of outputs of another width, between
            channels that stand for each other.
        different_settings: layers without weights, such as a Rescaling, that are in one of the models alone,
            and copied ones of other settings: outputs may differ for these, whatever the weights are.

    Example:
        >>> base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="shared")])
        >>> report = transfer_weights(base, keras.models.clone_model(base), probe=np.ones((2, 4), "float32"))
        >>> [(layer.target, layer.action, layer.parameters) for layer in report.layers]
        [('shared', 'copied', 15)]
        >>> report.names("copied"), report.max_abs_difference
        (['shared'], 0.0)
    """

    source_model: str
    target_model: str
    growth: str
    layers: tuple[LayerTransfer, ...]
    unmatched_source: tuple[str, ...]
    max_abs_difference: float | None
    different_settings: tuple[str, ...] = ()

    def parameters(self, action: str) -> int:
        """Returns the number of parameters in the layers of one action."""
        return sum(layer.parameters for layer in self.layers if layer.action == action)

    def totals(self) -> dict[str, int]:
        """Returns action -> the number of parameters in its layers."""
        return {action: self.parameters(action) for action in get_args(Action)}

    def names(self, action: str) -> list[str]:
        """Returns the target layers of one action."""
        return [layer.target for layer in self.layers if layer.action == action]

    def line(self) -> str:
        """Returns the account in one line."""
        summary = (
            f"{self.source_model} -> {self.target_model}: {len(self.names('copied'))} layers copied "
            f"({self.parameters('copied'):,} parameters), {len(self.names('grown'))} grown by {self.growth}"
        )
        if self.names("resized"):
            summary += f", {len(self.names('resized'))} of another width"
        if self.unmatched_source:
            summary += f", no place for {first_few(self.unmatched_source, MAX_LAYERS)}"
        if self.different_settings:
            summary += f"; settings differ: {first_few(self.different_settings, MAX_LAYERS)}"
        if self.max_abs_difference is None:
            return summary
        return f"{summary}; largest difference of the outputs on a batch: {self.max_abs_difference}"


def transfer_weights(
    source: keras.Model,
    target: keras.Model,
    *,
    growth: Growth = "identity",
    grow: str | Sequence[str] = (),
    leave: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    probe: np.ndarray | None = None,
) -> TransferReport:
    """Copies the weights of `source` into `target`, matching layers by name and weight shapes.

    Layers that Keras named by its global counter, "conv2d_17", match by their order among those of a type;
    names that begin with their model's own by what follows it. Statistics, vocabularies and bins that layers
    were adapted to are copied too. Nothing is changed when an error is raised.

    Identity growth sets a new convolution to the kernel that passes its input on (Net2DeeperNet: Chen et al.
    2016, arXiv:1511.05641, section 2.3), and the end of a new residual branch, in a transformer layer too, to
    zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1). Layers become wider by repeated channels
    (Net2WiderNet, section 2.2), or narrower by keeping the largest norms: this alone changes results.

    Args:
        source, target: built Keras models.
        growth: "identity" keeps what the network computes, "random" leaves layers as initialised.
        grow: pattern or patterns (`*`, `?`) of target layers that are new or of another width. That of a
            nested model stands for all layers in it.
        leave: patterns of target layers that keep their weights, such as a head.
        drop: patterns of source layers that need no place in the target.
        rename: target layer path -> source layer path, where the two names differ.
        probe: a batch of inputs (B, ...) on which the outputs of both are compared afterwards.

    Returns:
        A `TransferReport`.

    Raises:
        UserError: for layers unmatched and not declared, a pattern that matches nothing, a layer that cannot
            be an identity or of another width, a model that is not built, a probe that does not fit both.

    Example:
        >>> base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="shared")])
        >>> target = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="shared"), keras.layers.Dense(3, name="new")]
        ... )
        >>> transfer_weights(base, target, grow="new", probe=np.ones((2, 4), "float32")).max_abs_difference
        0.0
    """
    if growth not in get_args(Growth):
        raise UserError(f"`growth={growth}` is not known", nearest(str(growth), get_args(Growth)))
    identity = growth == "identity"
    plan = make_plan(source, target, grow=grow, leave=leave, drop=drop, rename=rename or {}, resize=identity)
    new_layers = {path: plan.targets[path] for path in plan.grown if identity}
    resized_arrays, places = _resize(target, plan) if plan.resized else ({}, None)
    new_weights = grown_weights(target, new_layers) | resized_arrays
    with _restore_on_errors(plan, new_weights):
        _copy(plan, new_weights)
        scale_paths = move_norms(target, new_layers)
        difference = None if probe is None else _probe_difference(source, target, probe, places)
    _forget_functions(target)
    return _report(source, target, plan, growth, difference, scale_paths)


def _resize(
    target: keras.Model, plan: Plan
) -> tuple[dict[str, list[np.ndarray]], Sequence[np.ndarray] | None]:
    sources = {path: match.layer for path, match in {**plan.pairs, **plan.resized}.items()}
    return resize_weights(target, sources, tuple(plan.resized), plan.grown)


def output_difference(
    first: keras.Model, second: keras.Model, inputs: np.ndarray, places: Sequence[np.ndarray] | None = None
) -> float:
    """Returns the largest absolute difference between the outputs of two models on one batch (B, ...).

    Args:
        first, second: the models.
        inputs: the batch.
        places: for each output (B, ..., C), the C channels of the first model that are compared with those of
            the second one; all of them in their order without.

    Raises:
        ValueError: when their outputs are not of the same shapes.
    """
    outputs = [
        [np.asarray(keras.ops.convert_to_numpy(part), np.float64) for part in keras.tree.flatten(result)]
        for result in (model(inputs, training=False) for model in (first, second))
    ]
    if places is not None:
        outputs[0] = [
            np.take(part, place, axis=-1) if part.ndim > 1 else part
            for part, place in zip(outputs[0], places, strict=True)
        ]
    shapes = [[part.shape for part in parts] for parts in outputs]
    if shapes[0] != shapes[1]:
        raise ValueError(f"outputs of shapes {shapes[0]} and {shapes[1]}")
    return float(np.max([np.max(np.abs(a - b)) for a, b in zip(*outputs, strict=True)]))


@contextmanager
def _restore_on_errors(plan: Plan, new_weights: Mapping[str, list[np.ndarray]]):
    """Gives the target its own weights again when what is done inside fails."""
    states = {path: layer_state(plan.targets[path]) for path in (*plan.pairs, *new_weights)}
    try:
        yield
    except BaseException:
        for path, state in states.items():
            give_state(plan.targets[path], state)
        raise


def _copy(plan: Plan, new_weights: Mapping[str, list[np.ndarray]]) -> None:
    for path, match in plan.pairs.items():
        try:
            give_state(plan.targets[path], layer_state(match.layer))
        except Exception as error:
            raise UserError(
                f"{path!r} cannot hold what {match.path!r} of the source holds ({_reason(error)})",
                "name it in `leave`, or build both alike",
            ) from error
    for path, weights in new_weights.items():
        plan.targets[path].set_weights(weights)


def _probe_difference(
    source: keras.Model, target: keras.Model, probe: np.ndarray, places: Sequence[np.ndarray] | None
) -> float:
    try:
        return output_difference(source, target, probe, places)
    except Exception as error:
        raise UserError(
            f"the outputs of {source.name!r} and {target.name!r} cannot be compared on the probe "
            f"({_reason(error)})",
            "give a batch of inputs that both models take, or no `probe`",
        ) from error


def _reason(error: Exception) -> str:
    # Keras prints in bold.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return truncate(" ".join(text.split()), MAX_LETTERS)


def _forget_functions(model: keras.Model) -> None:
    """Lets Keras trace a model anew: what it traced before holds statistics and vocabularies as constants."""
    for name in ("train_function", "test_function", "predict_function"):
        if getattr(model, name, None) is not None:
            setattr(model, name, None)


def _report(
    source: keras.Model,
    target: keras.Model,
    plan: Plan,
    growth: Growth,
    difference: float | None,
    scale_paths: Mapping[str, str],
) -> TransferReport:
    return TransferReport(
        source_model=source.name,
        target_model=target.name,
        growth=growth,
        layers=tuple(_entry(path, plan, growth, scale_paths) for path in plan.targets),
        unmatched_source=plan.dropped,
        max_abs_difference=difference,
        different_settings=_different_settings(source, target, plan),
    )


def _different_settings(source: keras.Model, target: keras.Model, plan: Plan) -> tuple[str, ...]:
    setting_differences = [
        difference
        for path, match in plan.pairs.items()
        for difference in different_settings(path, match.layer, plan.targets[path])
    ]
    step_differences = unpaired_steps(
        source,
        target,
        ignored=(lambda path: is_declared(path, plan.drop), lambda path: is_declared(path, plan.leave)),
        grown=bool(plan.grown),
        resized=bool(plan.resized),
    )
    return (*setting_differences, *step_differences)


def _entry(path: str, plan: Plan, growth: str, scale_paths: Mapping[str, str]) -> LayerTransfer:
    layer = plan.targets[path]
    parameters = sum(int(np.prod(weight.shape)) for weight in layer.weights)
    digest = layer_state(layer).sha256()
    match = plan.pairs.get(path) or plan.resized.get(path)
    if match is not None:
        action: Action = "copied" if path in plan.pairs else "resized"
        rule = match.rule + (f"; its scale is in {scale_paths[path]}" if path in scale_paths else "")
        return LayerTransfer(path, match.path, action, rule, parameters, digest)
    if path in plan.grown:
        return LayerTransfer(path, None, "grown", growth, parameters, digest)
    return LayerTransfer(path, None, "left", "declared", parameters, digest)

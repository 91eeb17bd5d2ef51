"""Weights copied layer by layer from one Keras model into another, with an account of each layer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.transfer.growth import Growth, grown_weights, weight_shapes
from xmodal.transfer.roles import roles, weighted_layers

# Of each side that an error lists.
MAX_LAYERS = 6


@dataclass(frozen=True)
class LayerTransfer:
    """What became of one target layer.

    Attributes:
        target: path of the layer in the target, nested models separated by "/".
        source: path of the layer its weights came from, None when none did.
        action: "copied", "grown" (new in the target, by `rule`) or "left" (declared as not transferred).
        rule: how the weights were found.
        parameters: the number of scalars in the layer.
        sha256: digest over the layer's weights after the transfer.
    """

    target: str
    source: str | None
    action: Literal["copied", "grown", "left"]
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
            probe batch after the transfer, None without a probe.

    Example:
        >>> base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="shared")])
        >>> report = transfer_weights(base, keras.models.clone_model(base), probe=np.ones((2, 4), "float32"))
        >>> [(layer.target, layer.action, layer.parameters) for layer in report.layers]
        [('shared', 'copied', 15)]
    """

    source_model: str
    target_model: str
    growth: str
    layers: tuple[LayerTransfer, ...]
    unmatched_source: tuple[str, ...]
    max_abs_difference: float | None

    def parameters(self, action: str) -> int:
        """Returns the number of parameters in the layers of one action."""
        return sum(layer.parameters for layer in self.layers if layer.action == action)

    def names(self, action: str) -> list[str]:
        """Returns the target layers of one action."""
        return [layer.target for layer in self.layers if layer.action == action]

    def line(self) -> str:
        """Returns the account in one line."""
        told = (
            f"{self.source_model} -> {self.target_model}: {len(self.names('copied'))} layers copied "
            f"({self.parameters('copied'):,} parameters), {len(self.names('grown'))} grown by {self.growth}"
        )
        if self.unmatched_source:
            told += f", no place for {', '.join(self.unmatched_source)}"
        return f"{told}; largest difference of the outputs on a batch: {self.max_abs_difference}"


def transfer_weights(
    source: keras.Model,
    target: keras.Model,
    *,
    growth: Growth = "identity",
    grow: Sequence[str] = (),
    leave: Sequence[str] = (),
    drop: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    probe: np.ndarray | None = None,
) -> TransferReport:
    """Copies the weights of `source` into `target`, matching layers by name and weight shapes.

    Layers that Keras named by its global counter, such as "conv2d_17", match by their order among those of
    their type; and names that begin with their model's own name match by what follows it.

    Identity growth sets a new convolution to the kernel that passes its input on, so that the grown
    network computes what the source did (Net2DeeperNet: Chen, Goodfellow and Shlens 2016,
    arXiv:1511.05641, section 2.3), and the end of a new residual branch to zero (Goyal et al. 2017,
    arXiv:1706.02677, section 5.1). Nothing is changed when an error is raised.

    Args:
        source: any built Keras model.
        target: any built Keras model.
        growth: "identity" sets grown layers to pass their input on, "random" leaves them as initialised.
        grow: patterns (`*`, `?`) of target layers that are new and may be grown.
        leave: patterns of target layers that keep their weights, such as a head.
        drop: patterns of source layers that need no place in the target.
        rename: target layer path -> source layer path, where the two names differ.
        probe: a batch of inputs (B, ...) on which the outputs of both models are compared afterwards.

    Returns:
        A `TransferReport`.

    Raises:
        UserError: when a layer of either side is unmatched and not declared, when none matches at all, or
            when a layer to be grown cannot be an identity.

    Example:
        >>> shared = keras.layers.Dense(3, name="shared")
        >>> base = keras.Sequential([keras.Input((4,)), shared])
        >>> target = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="shared"), keras.layers.Dense(3, name="new")]
        ... )
        >>> report = transfer_weights(base, target, grow=["new"], probe=np.ones((2, 4), "float32"))
        >>> report.max_abs_difference
        0.0
    """
    sources, targets = weighted_layers(source), weighted_layers(target)
    pairs, grown, left = _match(source, target, grow=grow, leave=leave, rename=rename or {})
    used = {match.name for match in pairs.values()}
    dropped = [name for name in sources if name not in used]
    missing = [name for name in targets if name not in pairs and name not in grown + left]
    undeclared = [name for name in dropped if not _declared(name, drop)]
    if missing or undeclared:
        raise UserError(
            f"layers of {source.name!r} and {target.name!r} do not match: only in the target: "
            f"{_shapes(targets, missing)}; only in the source: {_shapes(sources, undeclared)}",
            "declare the target's by `grow` or `leave` and the source's by `drop`",
        )
    # Unless all of the target is to stay as it is.
    if sources and not pairs and len(left) < len(targets):
        raise UserError(
            f"no layer of {source.name!r} is one of {target.name!r} too", "choose networks of one family"
        )
    kernels = grown_weights(target, {name: targets[name] for name in grown}) if growth == "identity" else {}

    for name, match in pairs.items():
        targets[name].set_weights(match.layer.get_weights())
        if isinstance(targets[name], keras.layers.Normalization):
            # It computes with what it made of its weights before.
            targets[name].finalize_state()
    for name, weights in kernels.items():
        targets[name].set_weights(weights)

    def entry(name: str) -> LayerTransfer:
        if name in pairs:
            return _entry(name, targets[name], pairs[name].name, "copied", pairs[name].rule)
        if name in grown:
            return _entry(name, targets[name], None, "grown", growth)
        return _entry(name, targets[name], None, "left", "declared")

    return TransferReport(
        source_model=source.name,
        target_model=target.name,
        growth=growth,
        layers=tuple(entry(name) for name in targets),
        unmatched_source=tuple(dropped),
        max_abs_difference=None if probe is None else output_difference(source, target, probe),
    )


def output_difference(first: keras.Model, second: keras.Model, inputs: np.ndarray) -> float:
    """Returns the largest absolute difference between the outputs of two models on one batch (B, ...)."""
    outputs = [keras.tree.flatten(model(inputs, training=False)) for model in (first, second)]
    return max(
        float(np.max(np.abs(keras.ops.convert_to_numpy(a) - keras.ops.convert_to_numpy(b))))
        for a, b in zip(*outputs, strict=True)
    )


@dataclass(frozen=True)
class _Match:
    name: str
    layer: keras.Layer
    rule: str


def _match(source, target, *, grow, leave, rename) -> tuple[dict[str, _Match], list[str], list[str]]:
    sources, targets = weighted_layers(source), weighted_layers(target)
    by_role = {role: path for path, role in roles(source).items()}
    role_of = roles(target)
    pairs: dict[str, _Match] = {}
    grown: list[str] = []
    left: list[str] = []
    for name, layer in targets.items():
        role = role_of[name]
        origin = rename.get(name) or by_role.get(role, "")
        found = sources.get(origin)
        if _declared(name, leave):
            left.append(name)
        elif found is not None and _alike(found, layer):
            pairs[name] = _Match(origin, found, "renamed" if name in rename else _rule(name, origin))
        elif _declared(name, grow):
            grown.append(name)
    return pairs, grown, left


def _alike(one: keras.Layer, other: keras.Layer) -> bool:
    """Tells whether two layers have weights of the same shapes, and take the same strides."""
    strides = [getattr(layer, "strides", None) for layer in (one, other)]
    return weight_shapes(one) == weight_shapes(other) and strides[0] == strides[1]


def _declared(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _rule(name: str, origin: str) -> str:
    return "same name and shapes" if name == origin else "same place and shapes"


def _shapes(layers: Mapping[str, keras.Layer], names: Sequence[str]) -> str:
    return first_few([f"{name} {weight_shapes(layers[name])}" for name in names], MAX_LAYERS) or "none"


def _entry(name, layer, source, action, rule) -> LayerTransfer:
    digest = hashlib.sha256()
    for weight in layer.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return LayerTransfer(name, source, action, rule, layer.count_params(), digest.hexdigest())

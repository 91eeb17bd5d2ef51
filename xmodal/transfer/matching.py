"""Which layer of one model is which of another one, and what was declared of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import keras

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.transfer.growth import weight_shapes
from xmodal.transfer.roles import layer_paths, roles, weighted_layers
from xmodal.transfer.state import OwnWeights, is_unadapted

# Of each side that an error or an account lists.
MAX_LAYERS = 6


@dataclass(frozen=True)
class Match:
    """A layer of the source.

    Attributes:
        path: its path.
        layer: itself.
        rule: how it was found.
    """

    path: str
    layer: keras.Layer | OwnWeights
    rule: str


@dataclass(frozen=True)
class Plan:
    """What becomes of each layer.

    Attributes:
        targets: the target's layers that hold something, by their paths.
        pairs: target path -> the layer whose weights it gets.
        resized: target path -> the same layer of another width, whose weights it gets wider or narrower.
        grown, left: target paths that were declared as new, or as to be left alone.
        dropped: source paths without a place.
        leave, drop: the patterns.
    """

    targets: Mapping[str, keras.Layer | OwnWeights]
    pairs: Mapping[str, Match]
    resized: Mapping[str, Match]
    grown: tuple[str, ...]
    left: tuple[str, ...]
    dropped: tuple[str, ...]
    leave: tuple[str, ...]
    drop: tuple[str, ...]


def make_plan(
    source: keras.Model,
    target: keras.Model,
    *,
    grow: str | Sequence[str],
    leave: str | Sequence[str],
    drop: str | Sequence[str],
    rename: Mapping[str, str],
    resize: bool = False,
) -> Plan:
    """Finds the layers of two models that are the same; see `transfer_weights` for the arguments.

    Args:
        source, target, grow, leave, drop, rename: as there.
        resize: whether layers of another width, where `grow` names them, get the weights of their source.

    Raises:
        UserError: for layers neither matched nor declared, patterns of none, models that are not built.
    """
    grow, leave, drop = (_patterns(patterns) for patterns in (grow, leave, drop))
    _require_built(source, target)
    _require_names(target, grow=grow, leave=leave, rename=tuple(rename))
    _require_names(source, drop=drop, rename=tuple(rename.values()))
    sources, targets = weighted_layers(source), weighted_layers(target)
    left_paths = tuple(path for path in targets if is_declared(path, leave))
    matches = {
        path: match for path, match in _matches(source, target, rename).items() if path not in left_paths
    }
    pairs = {path: match for path, match in matches.items() if _is_alike(match.layer, targets[path])}
    resized_matches = {
        path: Match(match.path, match.layer, "another width")
        for path, match in matches.items()
        if resize
        and path not in pairs
        and is_declared(path, grow)
        and _is_resizable(match.layer, targets[path])
    }
    with_weights = (*pairs, *resized_matches, *left_paths)
    grown_paths = tuple(path for path in targets if path not in with_weights and is_declared(path, grow))
    used_paths = {match.path for match in (*pairs.values(), *resized_matches.values())}
    dropped_paths = tuple(path for path in sources if path not in used_paths)
    _require_all(
        source,
        target,
        missing_layers={path: targets[path] for path in targets if path not in (*with_weights, *grown_paths)},
        undeclared_layers={path: sources[path] for path in dropped_paths if not is_declared(path, drop)},
    )
    _require_adapted(source, pairs, targets)
    # Unless all of the target is to stay as it is.
    if sources and not pairs and not resized_matches and len(left_paths) < len(targets):
        raise UserError(
            f"no layer of {source.name!r} is one of {target.name!r} too", "choose networks of one family"
        )
    return Plan(targets, pairs, resized_matches, grown_paths, left_paths, dropped_paths, leave, drop)


def is_declared(path: str, patterns: Sequence[str]) -> bool:
    """Tells whether a pattern matches a path, or that of a model which the layer is nested in."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(
        prefix == pattern or fnmatchcase(prefix, pattern) for prefix in prefixes for pattern in patterns
    )


def _patterns(patterns: str | Sequence[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _require_built(*models: keras.Model) -> None:
    for model in models:
        if not model.built:
            raise UserError(
                f"{model.name!r} is not built: it has no weights yet",
                "call it on a batch first, or give it a `keras.Input`",
            )


def _require_names(model: keras.Model, **arguments: tuple[str, ...]) -> None:
    """Refuses patterns that match no layer: a misspelled one would be of no effect."""
    paths = layer_paths(model)
    for argument, patterns in arguments.items():
        for pattern in patterns:
            if not any(is_declared(path, [pattern]) for path in paths):
                raise UserError(
                    f"`{argument}={pattern}` matches no layer of {model.name!r}", _near(pattern, paths)
                )


def _near(pattern: str, paths: Sequence[str]) -> str:
    close = get_close_matches(pattern, paths, n=3)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"it has {first_few(paths, MAX_LAYERS) or 'no layers'}"


def _matches(source: keras.Model, target: keras.Model, rename: Mapping[str, str]) -> dict[str, Match]:
    """Finds the layer of the source that each one of the target is, whatever the shapes of their weights."""
    sources, targets = weighted_layers(source), weighted_layers(target)
    path_by_role = {role: path for path, role in roles(source).items()}
    role_of = roles(target)
    matches = {}
    for path in targets:
        origin = rename.get(path) or path_by_role.get(role_of[path], "")
        if origin in sources:
            rule = "same name and shapes" if path == origin else "same place and shapes"
            matches[path] = Match(origin, sources[origin], "renamed" if path in rename else rule)
    return matches


def _is_resizable(one: keras.Layer | OwnWeights, other: keras.Layer | OwnWeights) -> bool:
    """Tells whether two layers are alike but for the sizes of their weights."""
    return type(one) is type(other) and [len(shape) for shape in weight_shapes(one)] == [
        len(shape) for shape in weight_shapes(other)
    ]


def _is_alike(one: keras.Layer | OwnWeights, other: keras.Layer | OwnWeights) -> bool:
    """Tells whether two layers have weights of the same shapes, and take the same strides."""
    strides = [getattr(layer, "strides", None) for layer in (one, other)]
    kinds = [bool(layer.weights) or type(layer) for layer in (one, other)]
    return weight_shapes(one) == weight_shapes(other) and strides[0] == strides[1] and kinds[0] == kinds[1]


def _require_adapted(
    source: keras.Model, pairs: Mapping[str, Match], targets: Mapping[str, keras.Layer | OwnWeights]
) -> None:
    for path, match in pairs.items():
        if is_unadapted(match.layer) and not is_unadapted(targets[path]):
            raise UserError(
                f"{match.path!r} of {source.name!r} is not adapted: it has no vocabulary or bins yet",
                f"call its `adapt` first, or keep those of the target by `leave={path}`",
            )


def _require_all(
    source: keras.Model,
    target: keras.Model,
    *,
    missing_layers: Mapping[str, keras.Layer | OwnWeights],
    undeclared_layers: Mapping[str, keras.Layer | OwnWeights],
) -> None:
    if missing_layers or undeclared_layers:
        raise UserError(
            f"layers of {source.name!r} and {target.name!r} do not match: only in the target: "
            f"{_shapes(missing_layers)}; only in the source: {_shapes(undeclared_layers)}",
            "declare the target's by `grow` or `leave` and the source's by `drop`",
        )


def _shapes(layers: Mapping[str, keras.Layer | OwnWeights]) -> str:
    entries = [f"{path} {weight_shapes(layer)}" for path, layer in layers.items()]
    return first_few(entries, MAX_LAYERS) or "none"

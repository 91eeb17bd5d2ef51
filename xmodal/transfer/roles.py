"""What a layer is in its model, so that it is found again in another one: mostly its name."""

import re
from collections import Counter
from collections.abc import Iterator

import keras

from xmodal.transfer.state import OwnWeights, holds_state

# The block of a stage that a layer of a ResNet or DenseNet belongs to.
BLOCK = re.compile(r"(conv\d+_block)(\d+)(?=_)")


def weighted_layers(model: keras.Model) -> dict[str, keras.Layer | OwnWeights]:
    """Returns what holds weights, a vocabulary or the like in a model, by paths, nested models with "/".

    Beside the layers that is what a subclassed model has of its own.
    """
    return {path: layer for path, _, layer in _walk(model)}


def layer_paths(model: keras.Model, path: str = "") -> list[str]:
    """Returns the paths of all layers of a model, of those without weights and of nested models too."""
    named = [(f"{path}{name}", layer) for name, layer in _named(model)]
    nested = [layer_paths(layer, f"{name}/") for name, layer in named if isinstance(layer, keras.Model)]
    own = [path + OwnWeights.name] if OwnWeights(model).weights else []
    return [name for name, _ in named] + sum(nested, own)


def owner(model: keras.Model, path: str) -> keras.Model:
    """Returns the model, nested perhaps, that the layer of a path is part of."""
    for name in path.split("/")[:-1]:
        model = dict(_named(model))[name]
    return model


def roles(model: keras.Model) -> dict[str, str]:
    """Returns what each layer with weights is in a model: path -> role.

    Of a layer that was given a name it is the path, without the model's own name where its layers' names
    begin with that, as those of ConvNeXt do. Of one that Keras named it is its place among those of its type:
    "conv2d_17" may be "conv2d_3" when the same network is built another time.

    Example:
        >>> def network():
        ...     return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
        >>> list(roles(network()).values()) == list(roles(network()).values())
        True
    """
    paths = [(path, role) for path, role, _ in _walk(model)]
    prefix = _common_prefix([role.partition("/")[0] for _, role in paths])
    made = {path: "/".join(part.removeprefix(prefix) for part in role.split("/")) for path, role in paths}
    return _with_last_blocks(made)


def _with_last_blocks(made: dict[str, str]) -> dict[str, str]:
    """Puts "last" for the number of the last block of each stage, which may be of another kind.

    ResNetV2's takes strides: "conv4_block6" of ResNet50V2 is "conv4_block23" of ResNet101V2.
    """
    numbers: dict[str, int] = {}
    for role in made.values():
        if block := BLOCK.match(role):
            numbers[block[1]] = max(int(block[2]), numbers.get(block[1], 0))
    last = {f"{stage}{number}": f"{stage}last" for stage, number in numbers.items()}
    return {
        path: last.get(block[0], block[0]) + role[block.end() :] if (block := BLOCK.match(role)) else role
        for path, role in made.items()
    }


def _walk(
    model: keras.Model, path: str = "", role: str = ""
) -> Iterator[tuple[str, str, keras.Layer | OwnWeights]]:
    """Yields path, role and layer of all that holds something; "#n" ends what Keras named of a role."""
    seen: Counter[str] = Counter()
    for name, layer in _named(model):
        if not (layer.weights or holds_state(layer)):
            continue
        kind = _own_name(type(layer))
        own = name
        if re.fullmatch(rf"{kind}(_\d+)?", own):
            own = f"{kind}#{seen[kind]}"
            seen[kind] += 1
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{path}{name}/", f"{role}{own}/")
        else:
            yield path + name, role + own, layer
    own_weights = OwnWeights(model)
    if own_weights.weights:
        yield path + OwnWeights.name, role + OwnWeights.name, own_weights


def _named(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """Returns the layers with their names; in subclassed models several may have one, and get numbers."""
    seen: Counter[str] = Counter()
    named = []
    for layer in model.layers:
        seen[layer.name] += 1
        again = f"~{seen[layer.name]}" if seen[layer.name] > 1 else ""
        named.append((layer.name + again, layer))
    return named


def _own_name(kind: type) -> str:
    """Returns what Keras calls a layer of a type: "batch_normalization"."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind.__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def _common_prefix(names: list[str]) -> str:
    """Returns the words, up to "_", with which all names of a network begin; "" where they share none.

    What stands on the network, such as a head, may be called otherwise.
    """
    given = [name.split("_") for name in names if "#" not in name]
    first = [words for words in given if words[0] == given[0][0]]
    if len(first) < 2 or 2 * len(first) < len(given):
        return ""
    shared = 0
    while all(len(words) > shared + 1 and words[shared] == first[0][shared] for words in first):
        shared += 1
    return "".join(f"{word}_" for word in first[0][:shared])

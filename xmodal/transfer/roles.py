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
    named_layers = [(f"{path}{name}", layer) for name, layer in _named_layers(model)]
    nested = [
        layer_paths(layer, f"{name}/") for name, layer in named_layers if isinstance(layer, keras.Model)
    ]
    own_paths = [path + OwnWeights.name] if OwnWeights(model).weights else []
    return [name for name, _ in named_layers] + sum(nested, own_paths)


def owner(model: keras.Model, path: str) -> keras.Model:
    """Returns the model, nested perhaps, that the layer of a path is part of."""
    for name in path.split("/")[:-1]:
        model = dict(_named_layers(model))[name]
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
    role_by_path = {
        path: "/".join(part.removeprefix(prefix) for part in role.split("/")) for path, role in paths
    }
    return _with_last_blocks(role_by_path)


def _with_last_blocks(role_by_path: dict[str, str]) -> dict[str, str]:
    """Puts "last" for the number of the last block of each stage, which may be of another kind.

    ResNetV2's takes strides: "conv4_block6" of ResNet50V2 is "conv4_block23" of ResNet101V2.
    """
    numbers: dict[str, int] = {}
    for role in role_by_path.values():
        if block := BLOCK.match(role):
            numbers[block[1]] = max(int(block[2]), numbers.get(block[1], 0))
    last_names = {f"{stage}{number}": f"{stage}last" for stage, number in numbers.items()}
    return {
        path: last_names.get(block[0], block[0]) + role[block.end() :]
        if (block := BLOCK.match(role))
        else role
        for path, role in role_by_path.items()
    }


def _walk(
    model: keras.Model, path: str = "", role: str = ""
) -> Iterator[tuple[str, str, keras.Layer | OwnWeights]]:
    """Yields path, role and layer of all that holds something; "#n" ends what Keras named of a role."""
    counts: Counter[str] = Counter()
    for name, layer in _named_layers(model):
        if not (layer.weights or holds_state(layer)):
            continue
        kind = _own_name(type(layer))
        part = name
        if re.fullmatch(rf"{kind}(_\d+)?", part):
            part = f"{kind}#{counts[kind]}"
            counts[kind] += 1
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{path}{name}/", f"{role}{part}/")
        else:
            yield path + name, role + part, layer
    own_weights = OwnWeights(model)
    if own_weights.weights:
        yield path + OwnWeights.name, role + OwnWeights.name, own_weights


def _named_layers(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """Returns the layers with their names; in subclassed models several may have one, and get numbers."""
    counts: Counter[str] = Counter()
    layers = []
    for layer in model.layers:
        counts[layer.name] += 1
        suffix = f"~{counts[layer.name]}" if counts[layer.name] > 1 else ""
        layers.append((layer.name + suffix, layer))
    return layers


def _own_name(kind: type) -> str:
    """Returns what Keras calls a layer of a type: "batch_normalization"."""
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind.__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def _common_prefix(names: list[str]) -> str:
    """Returns the words, up to "_", with which all names of a network begin; "" where they share none.

    What stands on the network, such as a head, may be called otherwise.
    """
    word_lists = [name.split("_") for name in names if "#" not in name]
    matches = [words for words in word_lists if words[0] == word_lists[0][0]]
    if len(matches) < 2 or 2 * len(matches) < len(word_lists):
        return ""
    length = 0
    while all(len(words) > length + 1 and words[length] == matches[0][length] for words in matches):
        length += 1
    return "".join(f"{word}_" for word in matches[0][:length])

"""What a layer computes with: weights, what it made of these, and what it was adapted to."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from xmodal.kernels.layers import all_layers, forget_vocabulary


class OwnWeights:
    """The weights that a subclassed model has beside its layers, in the place of a layer.

    Args:
        model: the model; what it nests has its own.
    """

    name = "(its own weights)"

    def __init__(self, model: keras.Model):
        layer_weight_ids = {id(weight) for layer in model.layers for weight in layer.weights}
        self.weights = [weight for weight in model.weights if id(weight) not in layer_weight_ids]

    def get_weights(self) -> list[np.ndarray]:
        """Returns the values."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, arrays: Sequence[np.ndarray]) -> None:
        """Gives them other values."""
        for weight, array in zip(self.weights, arrays, strict=True):
            weight.assign(array)


@dataclass(frozen=True)
class LayerState:
    """All that a layer computes with, apart from its settings.

    Attributes:
        weights: the values of its weights.
        adapted: of the layer and those inside of it, what they hold beside weights: see `_part_state`.
    """

    weights: list[np.ndarray]
    adapted: list[dict[str, Any]]

    def sha256(self) -> str:
        """Returns a digest over all of it."""
        digest = hashlib.sha256()
        for weight in self.weights:
            digest.update(np.ascontiguousarray(weight).tobytes())
        if any(self.adapted):
            digest.update(repr(self.adapted).encode(errors="surrogatepass"))
        return digest.hexdigest()


def layer_state(layer: keras.Layer | OwnWeights) -> LayerState:
    """Returns what a layer computes with.

    Example:
        >>> layer_state(keras.layers.StringLookup(vocabulary=["cat"])).adapted
        [{'vocabulary': ['[UNK]', 'cat']}]
    """
    return LayerState(layer.get_weights(), [_part_state(part) for part in _parts(layer)])


def is_unadapted(layer: keras.Layer | OwnWeights) -> bool:
    """Tells whether a layer, or one inside of it, has no vocabulary or bins yet."""
    states = [(part, _part_state(part)) for part in _parts(layer)]
    return any(
        not _is_adapted(part, part_state)
        for part, part_state in states
        if {"vocabulary", "bins"} & set(part_state)
    )


def give_state(layer: keras.Layer | OwnWeights, state: LayerState) -> None:
    """Lets a layer compute with what another one of its kind does.

    Raises:
        ValueError: or another error of Keras where the layer cannot hold it.
    """
    layer.set_weights(state.weights)
    for part, part_state in zip(_parts(layer), state.adapted, strict=True):
        _give_part_state(part, part_state)
        if not part_state and hasattr(part, "finalize_state"):
            # It computes with what it made of its weights before: a Normalization.
            part.finalize_state()


def holds_state(layer: keras.Operation) -> bool:
    """Tells whether a layer may hold something beside weights, such as a vocabulary."""
    return isinstance(layer, keras.Layer) and any(
        _is_lookup(part) or hasattr(part, "bin_boundaries") or _has_files(part) for part in _parts(layer)
    )


def _parts(layer: keras.Layer | OwnWeights) -> list[keras.Layer]:
    """Returns a layer and those inside of it, apart from the lookup of a TextVectorization."""
    if isinstance(layer, OwnWeights):
        return []
    parts = [layer, *all_layers(layer)]
    hidden = {id(inner) for part in parts if _is_lookup(part) for inner in all_layers(part)}
    return [part for part in parts if id(part) not in hidden]


def _is_lookup(layer: keras.Layer) -> bool:
    return hasattr(layer, "get_vocabulary") and hasattr(layer, "set_vocabulary")


def _has_files(layer: keras.Layer) -> bool:
    """Tells whether Keras saves files of a layer beside its weights, as those of a tokenizer."""
    return hasattr(layer, "save_assets") and hasattr(layer, "load_assets")


def _part_state(part: keras.Layer) -> dict[str, Any]:
    """Returns what a layer holds beside weights: a vocabulary with its weights, bins, or files."""
    if _is_lookup(part):
        vocabulary = [
            token.item() if isinstance(token, np.generic) else token for token in part.get_vocabulary()
        ]
        weights = _document_weights(part, len(vocabulary))
        return {"vocabulary": vocabulary} | ({} if weights is None else {"idf_weights": weights})
    if hasattr(part, "bin_boundaries"):
        return {"bins": None if part.bin_boundaries is None else [float(bin) for bin in part.bin_boundaries]}
    return {"files": _files(part)} if _has_files(part) else {}


def _is_adapted(part: keras.Layer, part_state: dict[str, Any]) -> bool:
    """Tells whether a state of a layer has words or bins of its own."""
    special = len(part.get_vocabulary()) - len(part.get_vocabulary(False)) if _is_lookup(part) else 0
    return len(part_state.get("vocabulary", part_state.get("bins")) or ()) > special


def _document_weights(lookup: keras.Layer, count: int) -> list[float] | None:
    if lookup.get_config().get("output_mode") != "tf_idf" or not count:
        return None
    store: dict[str, np.ndarray] = {}
    with suppress(AttributeError):  # Keras has none before it is adapted.
        lookup.save_own_variables(store)
    return [float(weight) for weight in store["idf_weights"][:count]] if store else None


def _files(part: keras.Layer) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        part.save_assets(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _give_part_state(part: keras.Layer, part_state: dict[str, Any]) -> None:
    if "vocabulary" in part_state:
        if part_state == _part_state(part):
            return
        if _is_adapted(part, part_state):
            part.set_vocabulary(**part_state)
        else:
            forget_vocabulary(part)
    elif "bins" in part_state:
        part.bin_boundaries = part_state["bins"]
    elif "files" in part_state:
        with TemporaryDirectory() as folder:
            for name, content in part_state["files"].items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            part.load_assets(folder)

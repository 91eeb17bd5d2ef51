"""One check for every layer: built, called, saved, loaded, cloned, and the same each time."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np


def check_layer(cls: type[keras.Layer], kwargs: dict[str, Any], *inputs: Any) -> None:
    """Checks that a layer, alone in a model, survives `.keras` files and `clone_model`.

    Args:
        cls: its class.
        kwargs: what it is made with.
        inputs: what it is called on, each (B, ...), or a list of such.
    """
    places = keras.tree.map_structure(
        lambda array: keras.Input(array.shape[1:], dtype=array.dtype.name), list(inputs)
    )
    layer = cls(**kwargs)
    assert set(kwargs) <= set(layer.get_config()), f"get_config of {cls.__name__} lacks an argument"
    check_model(keras.Model(places, layer(*places)), list(inputs))


def check_model(model: keras.Model, inputs: Any) -> None:
    """Checks that a model gives the same on some inputs once loaded from a file, and once cloned."""
    for weight in model.weights:
        if weight.trainable:
            # Initial zeros would hide weights that are lost.
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    expected = keras.tree.map_structure(np.asarray, model(inputs, training=False))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    cloned = keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    for again in (loaded, cloned):
        assert [weight.path.split("/")[-1] for weight in again.trainable_weights] == [
            weight.path.split("/")[-1] for weight in model.trainable_weights
        ]
        found = keras.tree.map_structure(np.asarray, again(inputs, training=False))
        keras.tree.map_structure(np.testing.assert_array_equal, found, expected)

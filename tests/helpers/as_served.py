"""Asks a SavedModel as TensorFlow Serving does, by the loader of sessions and not `tf.saved_model.load`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def as_served(
    folder: Path | str, questions: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, np.ndarray]]:
    """Returns the outputs of each signature for what it is asked, its inputs by name."""
    told = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for name, inputs in questions.items():
            asked = model.signature_def[name]
            outputs = {output: tensor.name for output, tensor in asked.outputs.items()}
            told[name] = session.run(outputs, {asked.inputs[key].name: row for key, row in inputs.items()})
    return told

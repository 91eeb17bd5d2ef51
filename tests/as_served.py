"""Asks a SavedModel as TensorFlow Serving does, by the loader of sessions and not `tf.saved_model.load`."""

from pathlib import Path

import numpy as np
import tensorflow as tf


def as_served(folder: Path | str, signature: str, **inputs) -> dict[str, np.ndarray]:
    """Returns the outputs of a signature."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        asked = model.signature_def[signature]
        outputs = {name: tensor.name for name, tensor in asked.outputs.items()}
        return session.run(outputs, {asked.inputs[name].name: value for name, value in inputs.items()})

"""Answers images or texts with a SavedModel: needs TensorFlow and tensorflow_text, and nothing of xmodal.

    python loaded.py MODEL_FOLDER INPUT_FOLDER

prints one JSON object of the outputs for the folder's files, in the order of their names. The export
check runs it as a process of its own.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the tokenizer


def answer(model: Path, inputs: Path) -> dict[str, list]:
    """Returns the outputs of `serving_default` for every file in a folder, by output name."""
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]
    encoded = tf.constant([path.read_bytes() for path in sorted(inputs.iterdir())])
    (name,) = serve.structured_input_signature[1]
    outputs = serve(**{name: encoded})
    return {
        name: [v.decode() for v in value.numpy()] if value.dtype == tf.string else value.numpy().tolist()
        for name, value in outputs.items()
    }


if __name__ == "__main__":
    print(json.dumps(answer(Path(sys.argv[1]), Path(sys.argv[2]))))

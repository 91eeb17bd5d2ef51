"""Answers images or texts with a SavedModel: needs TensorFlow and tensorflow_text, and nothing of xmodal.

    python loaded.py MODEL_FOLDER INPUT_FOLDER [SIGNATURE]

prints one JSON object of the outputs for the folder's files, in the order of their names. For a signature
with several inputs the folder has one for each, with its name. The export check runs it as a process of its
own.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the tokenizer


def answer(model: Path, inputs: Path, signature: str = "serving_default") -> dict[str, list]:
    """Returns the outputs of a signature for every file in a folder, by output name."""
    serve = tf.saved_model.load(str(model)).signatures[signature]
    names = list(serve.structured_input_signature[1])
    folders = {name: inputs / name if len(names) > 1 else inputs for name in names}
    outputs = serve(
        **{
            name: tf.constant([path.read_bytes() for path in sorted(folder.iterdir())])
            for name, folder in folders.items()
        }
    )
    return {
        name: [v.decode() for v in value.numpy()] if value.dtype == tf.string else value.numpy().tolist()
        for name, value in outputs.items()
    }


if __name__ == "__main__":
    print(json.dumps(answer(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])))

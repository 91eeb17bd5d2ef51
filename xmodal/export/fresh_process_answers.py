"""Answers images or texts with a SavedModel: needs TensorFlow and tensorflow_text, and nothing of xmodal.

    python loaded.py MODEL_FOLDER SIGNATURE=INPUT_FOLDER...

or, with no arguments, a line with a JSON list of them once TensorFlow is loaded. It prints one JSON object,
the outputs of each signature. INPUT_FOLDER has a folder for each input, with its name and a file for each
example, in the order of their names; what is no string is a serialized tensor. The export check runs
it as a process of its own.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the tokenizer


def answers(model: Path, inputs: Mapping[str, Path]) -> dict[str, dict[str, list]]:
    """Returns what each signature says, by the names of its outputs.

    Args:
        model: folder of the SavedModel.
        inputs: the signatures that are asked, and their folders.
    """
    signatures = tf.saved_model.load(str(model)).signatures
    return {name: _answer(signatures[name], folder) for name, folder in inputs.items()}


def _answer(serve, folder: Path) -> dict[str, list]:
    outputs = serve(
        **{
            name: tf.stack([_content(path, spec.dtype) for path in sorted((folder / name).iterdir())])
            for name, spec in serve.structured_input_signature[1].items()
        }
    )
    return {
        name: _decoded(value.numpy().tolist()) if value.dtype == tf.string else value.numpy().tolist()
        for name, value in outputs.items()
    }


def _content(path: Path, dtype: tf.DType):
    content = path.read_bytes()
    return content if dtype == tf.string else tf.io.parse_tensor(content, dtype)


def _decoded(value):
    return [_decoded(part) for part in value] if isinstance(value, list) else value.decode()


if __name__ == "__main__":
    model, *arguments = sys.argv[1:] or json.loads(sys.stdin.readline())
    folders = (argument.partition("=") for argument in arguments)
    print(json.dumps(answers(Path(model), {name: Path(folder) for name, _, folder in folders})))

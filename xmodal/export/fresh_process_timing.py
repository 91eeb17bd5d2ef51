"""Answers raw inputs with a model on disk, and times it: needs nothing of xmodal.

    python timed.py MODEL_FOLDER INPUTS_FILE BATCH_SIZE

prints one JSON object: the probabilities of all inputs, and the median milliseconds an input. The folder is a
SavedModel that takes strings, or holds `model.tflite` or `model.onnx`, and beside it `inputs/`, a SavedModel
that makes what the former takes of strings. The file is a serialized tensor of strings.
`xmodal.export.compressed` runs this as a process of its own, so that nothing else is in its memory and every
model starts alike.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the tokenizer

# Answered before the clock runs: first calls allocate, and pack weights.
WARM_UP = 3
# How many inputs are timed one by one.
ALONE = 40


def load(model: Path) -> Callable:
    """Returns a function: strings (B,) -> probabilities (B, C)."""
    if (model / "model.onnx").exists():
        return _by_onnx(model)
    if not (model / "model.tflite").exists():
        serve = _serving(model)
        return lambda texts: serve(texts)["probabilities"].numpy()
    preprocess = _serving(model / "inputs")
    run = lite_interpreter(model / "model.tflite").get_signature_runner("serving_default")

    def answers(texts):
        return run(**{name: value.numpy() for name, value in preprocess(texts).items()})["probabilities"]

    return answers


def lite_interpreter(file: Path):
    """Returns the interpreter of a LiteRT model: of its own package, or TensorFlow's, which does the same."""
    # Not the affinity: only Linux tells it.
    threads = os.cpu_count()
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            return tf.lite.Interpreter(str(file), num_threads=threads)
    return Interpreter(str(file), num_threads=threads)


def _by_onnx(model: Path) -> Callable:
    import onnxruntime

    preprocess = _serving(model / "inputs")
    session = onnxruntime.InferenceSession(str(model / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def answers(texts):
        inputs = preprocess(texts)
        return session.run(None, {name: inputs[name].numpy() for name in names})[0]

    return answers


def time_answers(answer: Callable, inputs: tf.Tensor, batch_size: int) -> dict[str, object]:
    """Answers all inputs (N,) in batches, and some of them one by one.

    Returns:
        "probabilities" (N, C), and the median milliseconds an input: "alone", and "together" in batches.
    """
    single_inputs = [inputs[index : index + 1] for index in range(min(len(inputs), ALONE))]
    batches = [inputs[index : index + batch_size] for index in range(0, len(inputs), batch_size)]
    alone_ms, _ = _answers(answer, single_inputs)
    together_ms, probabilities = _answers(answer, batches)
    return {"alone": alone_ms, "together": together_ms, "probabilities": probabilities}


def _serving(folder: Path) -> Callable:
    model = tf.saved_model.load(str(folder))
    serve = model.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]

    def call(texts):
        # The model is held too: its variables live as long as it does.
        return model.signatures["serving_default"](**{name: texts})

    return call


def _answers(answer: Callable, batches: list[tf.Tensor]) -> tuple[float, list]:
    for _ in range(WARM_UP):
        answer(batches[0])
    rows, milliseconds = [], []
    for batch in batches:
        started = time.perf_counter()
        outputs = answer(batch)
        milliseconds.append(1000 * (time.perf_counter() - started) / len(batch))
        rows += outputs.tolist()
    # A last batch that is not full would have other weight than the rest.
    full_batches = [
        ms for ms, batch in zip(milliseconds, batches, strict=True) if len(batch) == len(batches[0])
    ]
    return sorted(full_batches)[len(full_batches) // 2], rows


if __name__ == "__main__":
    strings = tf.io.parse_tensor(Path(sys.argv[2]).read_bytes(), tf.string)
    print(json.dumps(time_answers(load(Path(sys.argv[1])), strings, int(sys.argv[3]))))

"""A trained model for other runtimes: ONNX and a .keras file, as Keras writes them, both checked."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.run import RunConfig
from xmodal.core.errors import UserError
from xmodal.core.sums import summed_folder
from xmodal.data.decoding import MAX_PIXELS
from xmodal.export.compressed import measure_form, save_function, tokens_of, write_labels
from xmodal.export.saved_model import ExportFacts, form_folder
from xmodal.export.serving import pixels
from xmodal.models.text_encoder import TextEncoder

# Absolute, of probabilities: other libraries add up in another order.
TOLERANCE = 1e-4
KERAS, ONNX = "model.keras", "model.onnx"


def require_onnx(config: RunConfig) -> None:
    """Checks that what writes and runs ONNX is there, where it is to be used, before anything is trained.

    Raises:
        UserError: when it is not installed.
    """
    if not config.portable:
        return
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401  Keras converts by it
    except ImportError as error:
        raise UserError(
            f"`portable` needs the packages tf2onnx and onnxruntime ({error})",
            "pip install -c constraints.txt -e '.[onnx]', or leave it out",
        ) from error
    # Its notes about the machine are no news of the model.
    onnxruntime.set_default_logger_severity(3)


def export_portable(
    exported: Path,
    model: keras.Model,
    *,
    temperature: float,
    names: Sequence[str],
    save_inputs: Callable[[Path], None],
    inputs: Sequence[bytes],
    expected: np.ndarray,
) -> ExportFacts:
    """Writes a classifier as ONNX and as a .keras file, and compares both with the model in memory.

    The folder also has `labels.txt`, and in `inputs/` a SavedModel that makes what both take of raw strings.

    Args:
        exported: the folder of the run's export; these files go to `form_folder` of it.
        model: inputs -> logits (B, C), in float32.
        temperature: calibrates the logits: both files give probabilities (B, C).
        names: the C classes.
        save_inputs: writes `inputs/`, see `save_text_inputs` and `save_image_inputs`.
        inputs: raw strings (N,), encoded images or documents.
        expected: what the model in memory answers for these (N, C).

    Returns:
        The folder and the largest differences, as facts of the run.

    Raises:
        RuntimeError: when a file cannot be used, or differs by more than `TOLERANCE`.
    """
    answers = with_probabilities(model, temperature)
    folder = form_folder(exported, "portable")
    with summed_folder(folder) as temporary:
        answers.save(temporary / KERAS)
        write_onnx(answers, temporary / ONNX)
        write_labels(temporary, names)
        save_inputs(temporary / "inputs")
        # Checked before it takes its name: what does not answer alike never stands there.
        facts = _check_files(temporary, list(inputs), expected)
    return {"portable": str(folder), **facts}


def _check_files(folder: Path, inputs: list[bytes], expected: np.ndarray) -> ExportFacts:
    """Returns the largest differences of both files from what is expected (N, C)."""
    model = tf.saved_model.load(str(folder / "inputs"))
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    batch = signature(**{name: tf.constant(inputs)})
    keras_model = keras.models.load_model(folder / KERAS, compile=False)
    answers = {
        KERAS: keras_model(batch if isinstance(keras_model.input, dict) else batch["images"]).numpy(),
        # In a fresh process, by the runtime of ONNX.
        ONNX: measure_form(folder, inputs).probabilities,
    }
    facts: ExportFacts = {}
    for file, probabilities in answers.items():
        difference = float(np.abs(probabilities - expected).max())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"{file} differs from the model in memory by {difference:.2e}")
        facts[f"{file}: largest difference"] = difference
    return facts


def with_probabilities(model: keras.Model, temperature: float) -> keras.Model:
    """Returns a model of the same inputs, or of "images", that gives calibrated probabilities, not logits."""
    inputs = model.input
    if not isinstance(inputs, dict):
        inputs = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="images")
    logits = model(inputs)
    scaled_logits = keras.layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(logits)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(scaled_logits)
    return keras.Model(inputs, probabilities, name=model.name)


def write_onnx(model: keras.Model, file: Path) -> None:
    """Writes a model as ONNX, by Keras' own export."""
    specs = keras.tree.map_structure(
        lambda tensor: keras.InputSpec(shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), model.input
    )
    with warnings.catch_warnings():
        # Keras asks NumPy for a name that it had before version 2.
        warnings.filterwarnings("ignore", "In the future `np.object` will be defined", FutureWarning)
        model.export(file, format="onnx", verbose=False, input_signature=[specs])


def save_text_inputs(
    encoder: TextEncoder, prepare: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[Path], None]:
    """Returns what saves the way from documents (B,) to tokens, as `export_portable` takes it."""
    tokens = tokens_of(encoder, prepare)
    return lambda folder: save_function(tokens, "text", folder, encoder.preprocessor)


def save_image_inputs(image_size: int, max_pixels: int = MAX_PIXELS) -> Callable[[Path], None]:
    """Returns what saves the way from encoded images (B,) to pixels, as `export_portable` takes it."""

    def images(image_bytes):
        return {"images": pixels(image_bytes, image_size, max_pixels)}

    return lambda folder: save_function(images, "image_bytes", folder, tf.Module())

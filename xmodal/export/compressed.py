"""Small forms of a trained model, int8 by Keras and LiteRT, each measured from disk in a fresh process."""

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.core.files import folder_bytes
from xmodal.core.formatting import interval
from xmodal.core.sums import summed_folder
from xmodal.data.decoding import MAX_PIXELS
from xmodal.data.images import ImageSplit
from xmodal.evaluation.intervals import compare_paired, wilson_interval
from xmodal.export import fresh_process_timing
from xmodal.export.saved_model import form_folder
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.serving import Inference, pixels
from xmodal.models.text_encoder import TextEncoder
from xmodal.report import Table
from xmodal.tasks.text_classifier import TextClassifier

# Of more test examples than these, so many are drawn.
MAX_EXAMPLES = 2500
BATCH = 32
# Examples by which a form is timed whose answers are known.
TIMED = 8 * BATCH
FLOAT32, LITE_WEIGHTS, LITE_ACTIVATIONS = "float32", "LiteRT, int8 weights", "LiteRT, int8 throughout"
# What Keras quantizes in the networks of this package.
QUANTIZED = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)
# Training images that the ranges of the activations are taken from.
REPRESENTATIVE = 200
# Points of accuracy that int8 activations may cost on the validation split, to be taken.
ALLOWED = 0.5


@dataclass(frozen=True)
class Examples:
    """Raw inputs, encoded images or documents (N,), and their labels (N,)."""

    inputs: list[bytes]
    labels: np.ndarray


@dataclass(frozen=True)
class Variant:
    """A form of a model, and what was measured of it.

    Attributes:
        size: bytes on disk of all that it needs to answer raw inputs.
        probabilities: (N, C).
        alone, together: median milliseconds an input, one by one and in batches of `BATCH`.
    """

    size: int
    probabilities: np.ndarray
    alone: float
    together: float

    def part(self, indices: slice) -> "Variant":
        """Returns the same form, with what it answered for some of the examples."""
        return replace(self, probabilities=self.probabilities[indices])

    def right(self, labels: np.ndarray) -> np.ndarray:
        """Tells of each example (N,) whether its most probable class is its label."""
        return self.probabilities.argmax(axis=1) == labels


def example_indices(count: int, seed: int) -> np.ndarray:
    """Returns the indices of the examples to measure on: all of them, or `MAX_EXAMPLES`."""
    if count <= MAX_EXAMPLES:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_EXAMPLES, replace=False))


def representative_images(split: ImageSplit, seed: int) -> ImageSplit:
    """Draws training images for the ranges of activations."""
    count = min(REPRESENTATIVE, len(split))
    return split.take(np.random.default_rng(seed).choice(len(split), count, replace=False))


def small_documents(
    exported: Path,
    text: TextClassifier,
    *,
    temperature: float,
    prepare: Callable[[tf.Tensor], tf.Tensor],
    names: tuple[str, ...],
    test: Examples,
    probabilities: np.ndarray,
) -> tuple[Table, ...]:
    """Makes small forms of a classifier of documents, and measures them beside its export.

    Args:
        exported: the folder of its export, which was compared with the model in memory.
        text, temperature, prepare, names: as `ServedDocuments` takes them.
        test: what is measured on.
        probabilities: what the model in memory answered for these (N, C); the export is only timed.
    """
    folders = document_forms(exported, text, temperature=temperature, prepare=prepare, names=names)
    float32 = measure_form(folders.pop(FLOAT32), test.inputs[:TIMED])
    forms = {FLOAT32: replace(float32, probabilities=probabilities)}
    forms |= {name: measure_form(folder, test.inputs) for name, folder in folders.items()}
    return (small_table(forms, test.labels, "document"),)


def document_forms(
    exported: Path,
    text: TextClassifier,
    *,
    temperature: float,
    prepare: Callable[[tf.Tensor], tf.Tensor],
    names: tuple[str, ...],
) -> dict[str, Path]:
    """Writes a classifier of documents in int8 and for LiteRT, beside its export; see `form_folder`.

    Returns:
        The name of each form, the export among them, and its folder.
    """
    int8 = TextClassifier(text.encoder, int8_copy(text.model), None)
    served = ServedDocuments(
        text=int8, temperature=temperature, prepare=prepare, names=names, explained=False
    )
    with summed_folder(form_folder(exported, "int8")) as folder:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    tokens = tokens_of(text.encoder, prepare)

    def answers(**inputs):
        return {"probabilities": tf.nn.softmax(text.model(inputs, training=False) / temperature)}

    shapes = {name: [None, *value.shape[1:]] for name, value in tokens(tf.constant([""])).items()}
    specs = {name: tf.TensorSpec(shape, tf.int32, name=name) for name, shape in shapes.items()}
    with summed_folder(form_folder(exported, "litert")) as folder:
        _write_lite(folder, lite_model(answers, specs, text.model), names)
        save_function(tokens, "text", folder / "inputs", text.encoder.preprocessor)
    return {
        FLOAT32: exported,
        "int8, Keras": form_folder(exported, "int8"),
        LITE_WEIGHTS: form_folder(exported, "litert"),
    }


def small_images(
    exported: Path,
    model: keras.Model,
    *,
    image_size: int,
    max_pixels: int = MAX_PIXELS,
    temperature: float,
    names: tuple[str, ...],
    representative: ImageSplit,
    validation: Examples,
    test: Examples,
) -> tuple[Table, ...]:
    """Makes two forms of an image classifier for LiteRT, and measures them beside float32.

    The one that is kept is chosen on the validation split: with int8 activations, which any integer
    processor can run, if they cost no more than `ALLOWED` points, and otherwise with int8 weights alone.

    Args:
        exported: the folder of the run's export; the form goes to `form_folder` of it.
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        image_size: side of the images in pixels.
        max_pixels: of an encoded image; more are not decoded.
        temperature: calibrates the logits.
        names: the C classes.
        representative: training images, for the ranges of the activations.
        validation: what is chosen on.
        test: what is measured on.
    """
    validation_count = len(validation.inputs)
    with tempfile.TemporaryDirectory() as temporary:
        folders = image_forms(
            Path(temporary),
            model,
            image_size=image_size,
            max_pixels=max_pixels,
            temperature=temperature,
            names=names,
            representative=representative,
        )
        forms = {
            name: measure_form(folder, validation.inputs + test.inputs) for name, folder in folders.items()
        }
        validation_forms = {name: form.part(slice(validation_count)) for name, form in forms.items()}
        test_forms = {name: form.part(slice(validation_count, None)) for name, form in forms.items()}
        best = choose_litert_form(validation_forms, validation.labels)
        with summed_folder(form_folder(exported, "litert")) as folder:
            shutil.copytree(folders[best], folder, dirs_exist_ok=True)
    choice = small_table(validation_forms, validation.labels, "image", "validation", f"; {best} is kept")
    return small_table(test_forms, test.labels, "image"), choice


def image_forms(
    folder: Path,
    model: keras.Model,
    *,
    image_size: int,
    max_pixels: int = MAX_PIXELS,
    temperature: float,
    names: tuple[str, ...],
    representative: ImageSplit,
) -> dict[str, Path]:
    """Writes an image classifier in float32, for LiteRT, and for LiteRT with int8 activations too.

    Returns:
        The name of each form, and its folder in `folder`.
    """

    def images_of(image_bytes):
        return {"images": pixels(image_bytes, image_size, max_pixels)}

    def answers(images):
        return {"probabilities": tf.nn.softmax(model(images, training=False) / temperature)}

    def calibration() -> Iterator[dict[str, np.ndarray]]:
        for index in range(len(representative)):
            yield {"images": images_of(tf.constant([representative.encoded(index)]))["images"].numpy()}

    save_function(
        lambda image_bytes: answers(**images_of(image_bytes)),
        "image_bytes",
        folder / "float32",
        Inference(model),
    )
    specs = {"images": tf.TensorSpec([None, image_size, image_size, 3], tf.float32, name="images")}
    folders = {FLOAT32: folder / "float32"}
    for name, ranges in ((LITE_WEIGHTS, None), (LITE_ACTIVATIONS, calibration)):
        folders[name] = folder / name
        _write_lite(folders[name], lite_model(answers, specs, model, ranges), names)
        save_function(images_of, "image_bytes", folders[name] / "inputs", tf.Module())
    return folders


def choose_litert_form(tried: dict[str, Variant], labels: np.ndarray) -> str:
    """Returns the LiteRT form to keep, by what the forms answered for validation images of these labels."""
    lost_answers = tried[FLOAT32].right(labels).sum() - tried[LITE_ACTIVATIONS].right(labels).sum()
    return LITE_ACTIVATIONS if 100 * lost_answers <= ALLOWED * len(labels) else LITE_WEIGHTS


def int8_copy(model: keras.Model) -> keras.Model:
    """Returns a copy whose dense layers and embeddings have int8 weights; what they compute in stays float32.

    Int8 activations too are Keras' default, but TensorFlow multiplies int8 matrices on a CPU more slowly
    than float32 ones.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.quantize(
        config=keras.quantizers.Int8QuantizationConfig(activation_quantizer=None),
        # Of all others Keras would say, one by one, that they cannot be.
        filters=lambda layer: isinstance(layer, QUANTIZED),
    )
    return copy


def lite_model(
    answers: Callable[..., dict[str, tf.Tensor]],
    inputs: Mapping[str, tf.TensorSpec],
    model: keras.Model,
    calibration: Callable[[], Iterator[dict[str, np.ndarray]]] | None = None,
) -> bytes:
    """Converts a function of a model to LiteRT, with int8 weights.

    Args:
        answers: the function, of the named inputs.
        inputs: name -> shape and type.
        model: has its variables.
        calibration: yields inputs that the ranges of int8 activations are taken from; without it
            activations are float32 between the layers.
    """
    module = tf.Module()
    # Not the model: its own functions may assign the variables, which then stay what they are, in float32.
    module.weights = [variable.value for variable in model.variables]
    module.call = tf.function(answers, autograph=False)
    with tempfile.TemporaryDirectory() as folder:
        signature = module.call.get_concrete_function(**inputs)
        tf.saved_model.save(module, folder, signatures={"serving_default": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if calibration is not None:
            converter.representative_dataset = calibration
        with warnings.catch_warnings():
            # Its interpreter, which takes the ranges, is to move to a package of its own.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            return converter.convert()


def measure_form(folder: Path, inputs: list[bytes]) -> Variant:
    """Answers raw inputs by a form in a fresh process.

    Args:
        folder: as `xmodal.export.fresh_process_timing` takes it.
        inputs: encoded images, or documents.

    Raises:
        RuntimeError: when the form cannot be used.
    """
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "inputs"
        file.write_bytes(tf.io.serialize_tensor(tf.constant(inputs, tf.string)).numpy())
        process = subprocess.run(
            [sys.executable, fresh_process_timing.__file__, str(folder), str(file), str(BATCH)],
            capture_output=True,
            text=True,
        )
    if process.returncode:
        raise RuntimeError(f"the form in {folder} cannot be used: {process.stderr.strip()[-2000:]}")
    report = json.loads(process.stdout.splitlines()[-1])
    return Variant(
        folder_bytes(folder), np.array(report["probabilities"]), report["alone"], report["together"]
    )


def small_table(
    forms: dict[str, Variant], labels: np.ndarray, unit: str, split: str = "test", note: str = ""
) -> Table:
    """Returns the table of forms, "float32" among them, that answered for the same examples (N,)."""
    base = forms[FLOAT32]
    rows = []
    for name, form in forms.items():
        right = form.right(labels)
        gain = compare_paired(right, base.right(labels), what=name)
        rows.append(
            (
                name,
                form.size / 1e6,
                form.size / base.size,
                float(right.mean()),
                interval(wilson_interval(int(right.sum()), len(right)), len(right)),
                100 * gain.difference,
                "" if form is base else " to ".join(f"{100 * limit:+.2f}" for limit in gain.ci95),
                form.alone,
                form.together,
            )
        )
    head = (
        "form",
        "MB",
        "size to float32",
        "accuracy",
        "95% interval",
        "points to float32",
        "95% interval of that",
        "ms, one by one",
        f"ms, in batches of {BATCH}",
    )
    return Table(
        f"Small forms, on {len(labels):,} {split} {unit}s as they come, with milliseconds each{note}",
        head,
        tuple(rows),
    )


def _write_lite(folder: Path, model: bytes, names: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(model)
    write_labels(folder, names)


def write_labels(folder: Path, names: Sequence[str]) -> None:
    """Writes labels.txt: a class a line, in the order of the outputs."""
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names))


def tokens_of(
    encoder: TextEncoder, prepare: Callable[[tf.Tensor], tf.Tensor]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns what makes int32 tokens of documents (B,), as other runtimes take them."""

    def tokens(documents):
        inputs = encoder.preprocessor(prepare(documents))
        return {name: tf.cast(value, tf.int32) for name, value in inputs.items()}

    return tokens


def save_function(call: Callable, argument: str, folder: Path, resources) -> None:
    """Saves a function of strings (B,) as a SavedModel; `resources` has its variables and assets."""
    module = tf.Module()
    module.kept = resources
    signature = [tf.TensorSpec([None], tf.string, name=argument)]
    module.call = tf.function(call, input_signature=signature, autograph=False)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})

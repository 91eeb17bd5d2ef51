"""The export of a tiny model, loaded by processes that know nothing of this package."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tiny_export import ANSWERS, tiny_served

from xmodal import export, loaded, warm_up
from xmodal.checkpoint import Checkpoints
from xmodal.data.images import decode

# In the process that serves: what it is asked, and what it answers or how it fails.
SERVE = """
import base64, json, sys
import tensorflow as tf
if sys.argv[2] == "with tensorflow_text":
    import tensorflow_text
assert not any(name.partition(".")[0] in ("xmodal", "keras_nlp", "keras_hub") for name in sys.modules)
signatures = tf.saved_model.load(sys.argv[1]).signatures
for signature, name, values in json.loads(sys.stdin.read()):
    values = [base64.b64decode(value) for value in values]
    try:
        outputs = signatures[signature](**{name: tf.constant(values, tf.string)})
    except tf.errors.OpError as error:
        print(json.dumps([type(error).__name__, error.message]))
        continue
    arrays = {name: value.numpy() for name, value in outputs.items()}
    print(json.dumps({
        name: [item.decode() for item in array] if array.dtype == object else array.tolist()
        for name, array in arrays.items()
    }))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> export.Served:
    return tiny_served(tmp_path_factory.mktemp("preset"))


@pytest.fixture(scope="module")
def exported(served, tmp_path_factory) -> Path:
    return export.export(served, tmp_path_factory.mktemp("models") / "tiny")


def encoded_images() -> list[bytes]:
    """PNG and JPEG, grey and colour, with and without transparency, of several sizes and depths."""
    rng = np.random.default_rng(0)

    def pixels(height, width, channels, kind=np.uint8):
        return rng.integers(0, np.iinfo(kind).max, (height, width, channels)).astype(kind)

    encoded = [
        tf.io.encode_png(pixels(28, 28, 1)),
        tf.io.encode_png(pixels(64, 40, 3)),
        tf.io.encode_png(pixels(33, 57, 4)),
        tf.io.encode_png(pixels(20, 20, 3, np.uint16)),
        tf.io.encode_jpeg(pixels(90, 120, 3)),
        tf.io.encode_jpeg(pixels(17, 300, 1)),
        tf.io.encode_png(np.full((1, 1, 3), 200, np.uint8)),
        tf.io.encode_png(np.zeros((50, 50, 3), np.uint8)),
    ]
    return [image.numpy() for image in encoded]


def in_memory(served, images: list[bytes]) -> np.ndarray:
    """The path from bytes to answers, step by step and image by image, with what training uses."""
    text, answers = served._text_model, []
    for encoded in images:
        logits = served._image_model(decode(tf.constant(encoded), 32)[None], training=False)
        sentences = served._bridge.describe(tf.nn.softmax(logits / 1.5).numpy()[0])
        tokens = served._preprocessor(tf.constant(sentences))
        mean = text(tokens, training=False).numpy().mean(axis=0)
        answers.append(tf.nn.softmax(mean / 0.7).numpy())
    return np.array(answers)


@pytest.fixture(scope="module")
def serve(exported):
    """Asks a fresh process: (signature, argument, values) -> its outputs, or the error's name and text."""

    def ask(*questions, text_ops: str = "with tensorflow_text", check: bool = True):
        asked = [
            (signature, name, [base64.b64encode(value).decode() for value in values])
            for signature, name, values in questions
        ]
        done = subprocess.run(
            [sys.executable, "-c", SERVE, str(exported), text_ops],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=120,
        )
        if not check:
            return done
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def test_the_export_answers_as_the_model_in_memory(served, exported):
    images = encoded_images()
    expected = in_memory(served, images)
    # Otherwise the comparison would say little.
    assert np.ptp(expected, axis=0).min() > 0.01
    assert export.check(exported, images, expected) < export.TOLERANCES["float32"]


def test_a_difference_fails_the_check(served, exported):
    images = encoded_images()[:2]
    altered = in_memory(served, images)
    altered[1] += [2e-4, -2e-4]
    with pytest.raises(
        RuntimeError, match=r"differs from the model in memory by [12]\.\d+e-04, more than 1e-04"
    ):
        export.check(exported, images, altered)


def test_half_precision_may_differ_by_more(served, exported, monkeypatch):
    images = encoded_images()[:2]
    altered = np.add(in_memory(served, images), [2e-4, -2e-4])
    monkeypatch.setattr(keras.config, "dtype_policy", lambda: keras.DTypePolicy("mixed_bfloat16"))
    assert export.check(exported, images, altered) == pytest.approx(2e-4, abs=1e-5)


def test_an_export_that_cannot_be_loaded_fails_the_check(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)the export in .*nowhere cannot be used: .*OSError: "):
        export.check(tmp_path / "nowhere", encoded_images()[:1], np.zeros((1, 2)))


def test_raw_inputs_in_a_fresh_process(served, serve):
    images = encoded_images()
    texts = ["a photo of a cat", "surely a green oak", "", "犬 and words it never saw"]
    one, five, text, none, cut, empty = serve(
        ("serving_default", "image_bytes", images[4:5]),
        ("serving_default", "image_bytes", images[:5]),
        ("text", "text", [text.encode() for text in texts]),
        ("serving_default", "image_bytes", [b"no image at all"]),
        ("serving_default", "image_bytes", [images[0], images[1][:200]]),
        ("serving_default", "image_bytes", [b""]),
    )
    # The same image alone and in a batch.
    assert set(five) == {"label", "probability", "probabilities", "sentence"}
    np.testing.assert_allclose(five["probabilities"], in_memory(served, images[:5]), atol=1e-4)
    np.testing.assert_allclose(five["probabilities"][4], one["probabilities"][0], atol=1e-5)
    for label, probability, probabilities in zip(
        five["label"], five["probability"], five["probabilities"], strict=True
    ):
        assert label == ANSWERS[int(np.argmax(probabilities))]
        assert probability == max(probabilities)
        assert sum(probabilities) == pytest.approx(1, abs=1e-6)
    assert all(sentence.startswith("a photo of ") for sentence in five["sentence"])
    first, second = one["sentence"][0].split(" | ")
    assert first == f"a photo of {second}"

    assert set(text) == {"label", "probability", "probabilities"}
    logits = served._text_model(served._preprocessor(tf.constant(texts)), training=False)
    np.testing.assert_allclose(text["probabilities"], tf.nn.softmax(logits / 0.7), atol=1e-4)
    assert text["label"] == [ANSWERS[index] for index in np.argmax(logits, axis=1)]

    # Bytes that are no image are told, and the process goes on.
    for (name, message), reason in (
        (none, "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required."),
        (cut, "Invalid PNG data, size 200"),
        (empty, "Input is empty."),
    ):
        assert name == "InvalidArgumentError"
        assert reason in message


def test_tensorflow_text_must_be_imported(serve):
    """Which the README therefore says: the tokenizer's ops come with that package."""
    done = serve(text_ops="without tensorflow_text", check=False)
    assert done.returncode != 0
    assert "Op type not registered" in done.stderr


def test_the_graph_needs_no_python(exported):
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    [graph] = [meta.graph_def for meta in model.meta_graphs]
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    ops = {node.op for node in nodes}
    assert {"DecodeImage", "Conv2D", "StringJoin", "FastWordpieceTokenizeWithOffsets"} <= ops
    assert not [op for op in ops if "pyfunc" in op.lower()]


def test_the_signatures_of_the_export(exported):
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    inputs = {
        name: [(key, tensor.dtype) for key, tensor in signatures[name].inputs.items()]
        for name in signatures
        if not name.startswith("__")
    }
    string = tf.string.as_datatype_enum
    assert inputs == {
        "serving_default": [("image_bytes", string)],
        "text": [("text", string)],
        "labels": [],
    }


def fields(message: bytes) -> list[tuple[int, bytes]]:
    """Numbers and contents of a protobuf message all of whose fields have a length."""
    found, place = [], 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while place < len(message):
        number, kind = divmod(varint(), 8)
        assert kind == 2
        length = varint()
        found.append((number, message[place : place + length]))
        place += length
    return found


def test_the_requests_that_warm_up_a_server_are_answered(exported):
    signatures = tf.saved_model.load(str(exported)).signatures
    asked = []
    for record in tf.data.TFRecordDataset(str(exported / warm_up.FILE)).as_numpy_iterator():
        ((log, predict_log),) = fields(record)
        ((request_number, request),) = fields(predict_log)
        assert (log, request_number) == (6, 1)
        (_, spec), *inputs = fields(request)
        ((number, signature),) = fields(spec)
        assert number == 3
        tensors = {}
        for number, entry in inputs:
            assert number == 2
            (_, name), (_, tensor) = fields(entry)
            tensors[name.decode()] = tf.constant(
                tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor)), tf.string
            )
        answers = signatures[signature.decode()](**tensors)
        ((batch,),) = {tuple(tensor.shape) for tensor in tensors.values()}
        assert answers["probabilities"].shape[0] == batch
        asked.append((signature.decode(), batch))
    assert sorted(asked) == [("serving_default", 1), ("serving_default", 8), ("text", 1), ("text", 8)]


def test_the_command_answers_for_a_folder(exported, served, tmp_path):
    images = encoded_images()[:3]
    for number, image in enumerate(images):
        (tmp_path / f"{number}").write_bytes(image)
    answers = loaded.answer(exported, tmp_path)
    np.testing.assert_allclose(answers["probabilities"], in_memory(served, images), atol=1e-4)


def test_a_run_that_goes_on_exports_no_second_version(served, exported, tmp_path):
    def again(folder: str) -> Path:
        kept = Checkpoints(tmp_path / folder).stage("export")
        return export.export(served, exported.parent, kept)

    first = again("one run")
    assert first != exported
    assert again("one run") == first
    # Killed when the version was chosen, and not yet there.
    shutil.rmtree(first)
    assert again("one run") == first
    assert (first / "saved_model.pb").exists()
    assert again("another run") not in (first, exported)
    for path in exported.parent.iterdir():
        if path != exported:
            shutil.rmtree(path)


def test_versions_count_up_and_are_whole(served, exported):
    folder = exported.parent
    assert exported == folder / "1"
    (folder / "9").mkdir()
    (folder / "notes").mkdir()
    assert export.export(served, folder) == folder / "10"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "10", "9", "notes"]
    assert {path.name for path in (folder / "10").iterdir()} >= {"saved_model.pb", "variables"}

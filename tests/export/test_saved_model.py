"""The export of a tiny model, loaded by processes that know nothing of this package."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from as_served import as_served
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tiny_export import ANSWERS, tiny_served

from xmodal.data.decoding import decode
from xmodal.export import fresh_process_answers, saved_model, verification, warmup_requests
from xmodal.export.served_images import ServedImages
from xmodal.export.verification import TOLERANCES, Question, check
from xmodal.report.model_card import SIGNATURES
from xmodal.training.checkpoint import Checkpoints

ROOT = Path(__file__).parents[2]
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


@pytest.fixture
def exports_are_checked_as_for_users():
    """By a process that is started anew."""
    with mock.patch.object(verification, "sys", sys):
        yield


@pytest.fixture(scope="module")
def served(tiny_exported) -> ServedImages:
    return tiny_exported[0]


@pytest.fixture(scope="module")
def exported(tiny_exported, tmp_path_factory) -> Path:
    return shutil.copytree(tiny_exported[1], tmp_path_factory.mktemp("models") / "tiny/1")


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
        logits = served._image_model(decode(tf.constant(encoded), 32)[None])
        sentences = served._bridge.describe(tf.nn.softmax(logits / 1.5).numpy()[0])
        tokens = served._preprocessor(tf.constant(sentences))
        mean = text(tokens).numpy().mean(axis=0)
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


@pytest.mark.usefixtures("exports_are_checked_as_for_users")
def test_the_export_answers_as_the_model_in_memory(served, exported):
    images = encoded_images()
    expected = in_memory(served, images)
    # Otherwise the comparison would say little.
    assert np.ptp(expected, axis=0).min() > 0.01
    differences = check(
        exported,
        [
            Question({"image_bytes": images}, expected),
            Question({"image_bytes": images, "text": [b""] * len(images)}, expected, "image_and_text"),
        ],
    )
    assert list(differences) == ["serving_default", "image_and_text"]
    assert max(differences.values()) < TOLERANCES["float32"]


def test_a_difference_fails_the_check(served, exported):
    images = encoded_images()[:2]
    altered = in_memory(served, images)
    altered[1] += [2e-4, -2e-4]
    with pytest.raises(
        RuntimeError,
        match=r"serving_default of the .* differs from the model in memory by [12]\.\d+e-04, more than 1e-04",
    ):
        check(exported, [Question({"image_bytes": images}, altered)])


def test_half_precision_may_differ_by_more(served, exported, monkeypatch):
    images = encoded_images()[:2]
    altered = np.add(in_memory(served, images), [2e-4, -2e-4])
    monkeypatch.setattr(keras.config, "dtype_policy", lambda: keras.DTypePolicy("mixed_bfloat16"))
    differences = check(exported, [Question({"image_bytes": images}, altered)])
    assert differences["serving_default"] == pytest.approx(2e-4, abs=1e-5)


def test_what_is_computed_in_half_precision_is_served_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        served = tiny_served(tmp_path)
        saved_model.export_saved_model(served, tmp_path / "half")
    finally:
        keras.config.set_dtype_policy("float32")
    signatures = tf.saved_model.load(str(tmp_path / "half/1")).signatures
    images, texts = encoded_images(), [b"surely a cat"] * 8
    given = {"image_bytes": tf.constant(images), "text": tf.constant(texts)}
    for name, kinds in {
        "serving_default": ["image_bytes"],
        "text": ["text"],
        "image_and_text": [*given],
    }.items():
        answer = signatures[name](**{kind: given[kind] for kind in kinds})["probabilities"]
        assert answer.dtype == tf.float32
        np.testing.assert_allclose(tf.reduce_sum(answer, axis=1), 1, atol=1e-6)
    of_images = signatures["serving_default"](image_bytes=given["image_bytes"])["probabilities"]
    np.testing.assert_allclose(of_images, in_memory(served, images), atol=TOLERANCES["bfloat16"])
    for name, kind in (("embed_image", "image_bytes"), ("embed_text", "text")):
        lengths = np.linalg.norm(signatures[name](**{kind: given[kind]})["embedding"], axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-6)


@pytest.mark.usefixtures("exports_are_checked_as_for_users")
def test_an_export_that_cannot_be_loaded_fails_the_check(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)the export in .*nowhere cannot be used: .*OSError: "):
        check(tmp_path / "nowhere", [Question({"image_bytes": encoded_images()[:1]}, np.zeros((1, 2)))])


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
    logits = served._text_model(served._preprocessor(tf.constant(texts)))
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


def test_the_graph_needs_no_compiler_and_has_the_attention_of_the_training(exported):
    """TensorFlow Serving compiles nothing on a CPU but where it is told to by flags of its own."""
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    functions = model.meta_graphs[0].graph_def.library.function
    assert not [function for function in functions if function.attr["_XlaMustCompile"].b]
    ops = {node.op for function in functions for node in function.node_def}
    assert {"BatchMatMulV2", "Softmax", "Unpack"} <= ops
    # As Keras has it, with a product of its own for queries, keys and values.
    assert "Einsum" not in ops


def test_the_signatures_of_the_export(exported):
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    inputs = {name: set(signatures[name].inputs) for name in signatures if not name.startswith("__")}
    kinds = {tensor.dtype for name in inputs for tensor in signatures[name].inputs.values()}
    assert kinds == {tf.string.as_datatype_enum}
    assert inputs == {
        "serving_default": {"image_bytes"},
        "text": {"text"},
        "image_and_text": {"image_bytes", "text"},
        "embed_image": {"image_bytes"},
        "embed_text": {"text"},
        "why": {"image_bytes"},
        "why_text": {"text"},
        "labels": set(),
    }
    assert sorted(name for name, _, _ in SIGNATURES["vgg_to_bert"]) == sorted(inputs)


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported)).signatures


@pytest.mark.parametrize("size", [1, 7, 256])
def test_a_batch_of_any_size_is_answered_row_by_row(signatures, size):
    images, texts = encoded_images(), [b"a red cat", b"an oak", b""]
    rows = {
        "image_bytes": [images[place % len(images)] for place in range(size)],
        "text": [texts[place % len(texts)] for place in range(size)],
    }
    for name, signature in signatures.items():
        asked = {key: tf.constant(rows[key]) for key in signature.structured_input_signature[1]}
        # Words take a hundred passes for each row.
        if not asked or (name == "why_text" and size > 7):
            continue
        last = {key: value[-1:] for key, value in asked.items()}
        together, alone = signature(**asked), signature(**last)
        for output, values in together.items():
            assert len(values) == size
            if values.dtype == tf.string:
                assert np.all(values[-1].numpy() == alone[output][0].numpy())
            else:
                np.testing.assert_allclose(values[-1], alone[output][0], atol=1e-5)


def test_padding_is_not_read(served):
    read = served._preprocessor
    assert {value.shape for value in read(tf.constant(["a red cat", "cat"])).values()} == {(2, 5)}
    assert {value.shape for value in read(tf.constant([], tf.string)).values()} == {(0, 1)}
    assert read(tf.constant(["cat " * 100]))["token_ids"].shape == (1, 16)


def test_an_image_and_a_text_are_two_opinions(served, signatures):
    """Against the definition: probabilities in proportion to the geometric mean of both sides'."""
    images = encoded_images()[:3]
    texts = ["a red cat", "surely a green oak", "three dogs"]
    of_images = in_memory(served, images)
    of_texts = served.answer_texts(tf.constant(texts))["probabilities"].numpy()
    mean = np.sqrt(of_images * of_texts)
    pair = signatures["image_and_text"]
    told = pair(image_bytes=tf.constant(images), text=tf.constant(texts))
    np.testing.assert_allclose(
        told["probabilities"], mean / mean.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    # Neither side is the other's.
    assert np.abs(of_images - of_texts).max() > 0.05
    # One side, the other, none: each row by itself.
    told = pair(image_bytes=tf.constant([images[0], b"", b""]), text=tf.constant(["", texts[0], " \n"]))
    np.testing.assert_allclose(told["probabilities"], [of_images[0], of_texts[0], [0.5, 0.5]], atol=1e-5)
    assert [sentence != b"" for sentence in told["sentence"].numpy()] == [True, False, False]


def test_an_image_is_embedded_where_its_sentences_are(served, signatures):
    images = encoded_images()[:4]
    vectors = signatures["embed_image"](image_bytes=tf.constant(images))["embedding"].numpy()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    sentences = signatures["serving_default"](image_bytes=tf.constant(images))["sentence"].numpy()
    for vector, wordings in zip(vectors, sentences, strict=True):
        read = signatures["embed_text"](text=tf.constant(wordings.split(b" | ")))["embedding"].numpy()
        assert len(read) == 2
        np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-5)
        mean = read.mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    # An embedding that is not an image's: no empty bytes.
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["embed_image"](image_bytes=tf.constant([b""]))


def test_a_server_of_tensorflow_answers_the_same(exported, signatures):
    examples = {"image_bytes": encoded_images()[:3], "text": [b"a red cat", b"", b"an oak"]}
    questions = {
        name: {key: examples[key] for key in signature.structured_input_signature[1]}
        for name, signature in signatures.items()
    }
    for name, told in as_served(exported, questions).items():
        expected = signatures[name](**{key: tf.constant(rows) for key, rows in questions[name].items()})
        assert set(told) == set(expected)
        for output, values in expected.items():
            if values.dtype == tf.string:
                assert told[output].tolist() == values.numpy().tolist()
            else:
                np.testing.assert_allclose(told[output], values, atol=1e-5)


def test_the_command_of_tensorflow_shows_and_runs_a_signature(exported, signatures):
    """By the lines of the README: `run` needs the tokenizer's ops, which its program does not import."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    lines = re.findall(r"^(saved_model_cli show .*|python -c .*\n.*)$", readme, re.MULTILINE)

    def cli(line: str) -> str:
        command = shlex.split(line.replace("\\\n", "").replace("saved_models/vgg_to_bert/1", str(exported)))
        command[0] = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown, told = map(cli, lines)
    for name in signatures:
        assert f"signature_def['{name}']:" in shown
    numbers = [float(number) for number in told.rpartition("[[")[2].rstrip("]\n ").split()]
    expected = signatures["embed_text"](text=tf.constant(["a seven"]))["embedding"][0]
    np.testing.assert_allclose(numbers, expected, atol=1e-5)


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


def test_the_requests_that_warm_up_a_server_are_answered(exported, signatures):
    asked = []
    for record in tf.data.TFRecordDataset(str(exported / warmup_requests.FILE)).as_numpy_iterator():
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
        assert {value.shape[0] for value in answers.values()} == {batch}
        asked.append((signature.decode(), batch))
    names = ("embed_image", "embed_text", "image_and_text", "serving_default", "text", "why", "why_text")
    assert sorted(asked) == [(name, batch) for name in names for batch in (1, 8)]


def test_the_command_answers_for_a_folder(exported, served, tmp_path):
    images = encoded_images()[:3]
    (tmp_path / "image_bytes").mkdir()
    for number, image in enumerate(images):
        (tmp_path / "image_bytes" / f"{number}").write_bytes(image)
    answers = fresh_process_answers.answers(exported, {"serving_default": tmp_path})["serving_default"]
    np.testing.assert_allclose(answers["probabilities"], in_memory(served, images), atol=1e-4)


def publish(folder: Path, kept: Path | None = None, content: str = "weights", form: str = "", check=None):
    """Publishes a version of one file."""

    def write(place: Path) -> None:
        (place / "variables").mkdir()
        (place / "variables" / "data").write_text(content)

    stage = Checkpoints(kept).stage("export") if kept else None
    return saved_model.publish(folder, write, check or (lambda place: {"told": 0.5}), stage, form)


def test_a_run_that_goes_on_exports_no_second_version(tmp_path):
    folder = tmp_path / "models"
    first = publish(folder, tmp_path / "one run")
    assert first == (folder / "1", {"told": 0.5})
    (folder / "1" / "model_card.md").write_text("# a card")
    assert publish(folder, tmp_path / "one run", check=pytest.fail) == first
    assert publish(folder, tmp_path / "another run", "other weights")[0] == folder / "2"
    assert publish(folder, tmp_path / "one run", check=pytest.fail) == first
    assert sorted(os.listdir(folder)) == ["1", "2"]


@pytest.mark.parametrize("damage", ["removed", "emptied", "changed", "replaced"])
def test_an_export_that_is_no_longer_this_runs_is_not_taken_for_it(tmp_path, damage):
    folder = tmp_path / "models"
    publish(folder, tmp_path / "one run")
    shutil.rmtree(folder / "1" / "variables" if damage == "emptied" else folder / "1")
    if damage == "changed":
        publish(folder, content="weights.")
    if damage == "replaced":
        publish(folder, tmp_path / "another run", "other weights")
    before = list(folder.rglob("*"))
    version = publish(folder, tmp_path / "one run")[0]
    assert version == folder / ("1" if damage == "removed" else "2")
    assert (version / "variables/data").read_text() == "weights"
    assert all(path.exists() for path in before)
    # And that one is found again.
    assert publish(folder, tmp_path / "one run", check=pytest.fail)[0] == version


def test_nothing_stands_under_a_number_before_it_was_checked(tmp_path):
    folder, seen = tmp_path / "models", []

    def check(place: Path) -> dict:
        seen.append([path.name for path in folder.iterdir() if path.name.isdecimal()])
        assert (place / "variables/data").read_text() == "weights"
        if len(seen) == 1:
            raise RuntimeError("differs")
        return {}

    with pytest.raises(RuntimeError, match="differs"):
        publish(folder, tmp_path / "run", check=check)
    assert os.listdir(folder) == []
    assert publish(folder, tmp_path / "run", check=check)[0] == folder / "1"
    assert seen == [[], []]


def test_a_number_that_another_run_took_meanwhile(tmp_path):
    folder = tmp_path / "models"

    def check(place: Path) -> dict:
        publish(folder, tmp_path / "another run", "other weights")
        return {}

    assert publish(folder, tmp_path / "one run", check=check)[0] == folder / "2"
    assert (folder / "1/variables/data").read_text() == "other weights"


def test_a_form_without_an_export_of_its_own(tmp_path):
    folder = tmp_path / "models"
    publish(folder)
    assert publish(folder, tmp_path / "run", "index", "index")[0] == tmp_path / "models_index/2"
    assert publish(folder, tmp_path / "run", "index", "index")[0] == tmp_path / "models_index/2"
    assert publish(folder)[0] == folder / "3"


def test_a_kill_while_it_is_checked_leaves_nothing_that_is_served(tmp_path):
    script = """
import sys, time
from pathlib import Path
from xmodal.training.checkpoint import Checkpoints
from xmodal.export.saved_model import publish

def check(place):
    print("checking", flush=True)
    time.sleep(60 * float(sys.argv[1]))
    return {"told": 1.0}

kept = Checkpoints(Path("run")).stage("export")
print(publish(Path("models"), lambda place: (place / "data").write_text("weights"), check, kept)[0])
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "1"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "checking\n"
        process.kill()
    (left,) = os.listdir(tmp_path / "models")
    assert left.startswith(".")
    done = subprocess.run(
        [*command, "0"], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout == "checking\nmodels/1\n", done.stderr
    assert os.listdir(tmp_path / "models") == ["1"]


def test_versions_count_up_and_are_whole(served, exported):
    folder = exported.parent
    assert exported == folder / "1"
    (folder / "9").mkdir()
    (folder / "notes").mkdir()
    assert saved_model.export_saved_model(served, folder) == folder / "10"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "10", "9", "notes"]
    assert {path.name for path in (folder / "10").iterdir()} >= {"saved_model.pb", "variables"}

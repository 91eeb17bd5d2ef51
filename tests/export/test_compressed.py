"""Small forms of tiny models: what they hold, what they answer, and the table of them."""

import re
import sys
import warnings
from types import ModuleType
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from as_served import as_served
from pages import follow
from tiny_bert import save_tiny_bert

from xmodal.data.images import ImageSplit
from xmodal.export import compressed, fresh_process_timing, saved_model
from xmodal.export.compressed import FLOAT32, LITE_ACTIVATIONS, LITE_WEIGHTS, Examples, Variant
from xmodal.export.served_documents import ServedDocuments
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.text.cleaning import preparation

NAMES = ("animal", "plant")
DOCUMENTS = [
    "<p>a photo of a cat</p>",
    "one red oak, two green firs",
    "",
    "dog@example.org " * 30,
    "warm bird",
    "not very cold 犬",
]
TEMPERATURE = 1.5
# What int8 weights may change of a probability, in models whose logits are far apart.
CLOSE = 0.05
pytestmark = [
    # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # The interpreter is to move to a package of its own, and says so when one is made here.
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated"),
]


def prepare(documents):
    return preparation(True)(documents)[0]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> TextClassifier:
    encoder = text_encoder(save_tiny_bert(tmp_path_factory.mktemp("preset") / "bert"), 16)
    return TextClassifier(encoder, text_classifier(encoder.model, len(NAMES)), None)


@pytest.fixture(scope="module")
def exported(text, tmp_path_factory):
    served = ServedDocuments(text=text, temperature=TEMPERATURE, prepare=prepare, names=NAMES)
    return saved_model.export_saved_model(served, tmp_path_factory.mktemp("saved") / "news")


@pytest.fixture(scope="module")
def folders(text, exported):
    return compressed.document_forms(exported, text, temperature=TEMPERATURE, prepare=prepare, names=NAMES)


def in_memory(text) -> np.ndarray:
    logits = text.model(text.encoder.preprocessor(prepare(tf.constant(DOCUMENTS))), training=False)
    return tf.nn.softmax(logits / TEMPERATURE).numpy()


def test_the_forms_stand_beside_the_export(exported, folders):
    assert list(folders) == [FLOAT32, "int8, Keras", LITE_WEIGHTS]
    parent = exported.parent.parent
    assert list(folders.values()) == [exported, parent / "news_int8/1", parent / "news_litert/1"]
    assert (parent / "news_litert/1/labels.txt").read_text() == "animal\nplant\n"
    # The export's own folder is as it was.
    assert {path.name for path in exported.parent.iterdir()} == {"1"}


def test_the_next_version_is_free_in_all_forms(text, exported, folders):
    folder = exported.parent
    (folder.with_name("news_litert") / "7").mkdir()
    assert saved_model.next_version(folder) == folder / "8"


def test_every_form_answers_documents_as_the_model_in_memory(text, folders):
    expected = in_memory(text)
    # Otherwise the comparison would say little.
    assert np.ptp(expected, axis=0).min() > 4 * CLOSE
    for name, folder in folders.items():
        answer = fresh_process_timing.load(folder)
        found = answer(tf.constant(DOCUMENTS))
        np.testing.assert_allclose(found, expected, atol=1e-4 if name == FLOAT32 else CLOSE, err_msg=name)
        # The same document alone and in a batch of another size.
        np.testing.assert_allclose(answer(tf.constant(DOCUMENTS[1:2])), found[1:2], atol=CLOSE)
        # LiteRT leaves matrices of less than 1,024 weights as they are, and this model has no others.
        assert (np.abs(found - expected).max() > 1e-5) == (name == "int8, Keras"), name
        if (folder / "saved_model.pb").exists():
            question = {"serving_default": {"text": [text.encode() for text in DOCUMENTS]}}
            served = as_served(folder, question)["serving_default"]
            np.testing.assert_allclose(served["probabilities"], found, atol=1e-5)


def test_int8_holds_every_matrix_in_a_byte_a_weight(text):
    copy = compressed.int8_copy(text.model)
    matrices = {
        variable.path: variable.dtype
        for variable in copy.variables
        if variable.path.endswith(("kernel", "embeddings")) and "position" not in variable.path
    }
    assert set(matrices.values()) == {"int8"}
    # Of tokens and segments; of attention four, two of the block, and the head.
    assert sum("embedding" in path for path in matrices) == 2
    assert sum("kernel" in path for path in matrices) == 7
    # The model that it was made of stays as it is.
    assert {variable.dtype for variable in text.model.weights} == {"float32"}


def test_litert_has_int8_weights_its_tokenizer_apart_and_any_batch(folders):
    interpreter = tf.lite.Interpreter(str(folders[LITE_WEIGHTS] / "model.tflite"))
    inputs = {item["name"]: item["shape_signature"].tolist() for item in interpreter.get_input_details()}
    assert {re.sub(r"serving_default_(\w+):0", r"\1", name): shape for name, shape in inputs.items()} == {
        "token_ids": [-1, 16],
        "segment_ids": [-1, 16],
        "padding_mask": [-1, 16],
    }
    ops = {op["op_name"] for op in interpreter._get_ops_details()}
    # All of it is LiteRT's own, and the weights are constants: others would not be quantized.
    assert not [op for op in ops if op.startswith(("Flex", "VAR_HANDLE"))]


def test_litert_is_run_by_its_own_package_where_that_is_installed(text, folders, monkeypatch):
    inputs = tf.constant(DOCUMENTS)
    # None makes an import fail, as where it is not installed.
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with warnings.catch_warnings(record=True) as heard:
        by_tensorflow = fresh_process_timing.load(folders[LITE_WEIGHTS])(inputs)
    assert not [str(warning.message) for warning in heard if "deprecated" in str(warning.message)]
    package = ModuleType("ai_edge_litert.interpreter")
    package.Interpreter = Mock(wraps=tf.lite.Interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", package)
    np.testing.assert_array_equal(fresh_process_timing.load(folders[LITE_WEIGHTS])(inputs), by_tensorflow)
    package.Interpreter.assert_called_once()


def test_the_lines_that_ask_litert_as_they_are_shown(folders, tmp_path, monkeypatch, capsys):
    (tmp_path / "saved_models/bert_news_litert").mkdir(parents=True)
    (tmp_path / "saved_models/bert_news_litert/1").symlink_to(folders[LITE_WEIGHTS])
    monkeypatch.chdir(tmp_path)
    follow("saved_models/bert_news_litert/1")
    assert "0." in capsys.readouterr().out


@pytest.fixture(scope="module")
def image_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    trunk = image_backbone("VGG16", 32, ("block2_pool",), cache=None)
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.03))
    return keras.Model(trunk.input, logits(trunk.output))


@pytest.fixture(scope="module")
def split() -> ImageSplit:
    rng = np.random.default_rng(0)
    images = [
        tf.io.encode_png((rng.integers(0, 256, (40, 30, 3)) // (1 + place % 2)).astype(np.uint8)).numpy()
        for place in range(24)
    ]
    ids = tuple(str(place) for place in range(24))
    items = np.array(images, object)
    return ImageSplit(items, np.arange(24, dtype=np.int32) % 2, ids, digests=tuple(images), in_memory=True)


def test_images_the_form_is_chosen_on_the_validation_split(image_model, split, tmp_path):
    exported = tmp_path / "photos/3"
    examples = Examples([split.encoded(place) for place in range(24)], split.labels)
    tested, tried = compressed.small_images(
        exported,
        image_model,
        image_size=32,
        temperature=TEMPERATURE,
        names=NAMES,
        representative=split,
        validation=Examples(examples.inputs[:10], examples.labels[:10]),
        test=Examples(examples.inputs[10:], examples.labels[10:]),
    )
    assert [row[0] for row in tested.rows] == [FLOAT32, LITE_WEIGHTS, LITE_ACTIVATIONS]
    assert tested.caption.startswith("Small forms, on 14 test images")
    assert "10 validation images" in tried.caption
    column = tested.head.index("size to float32")
    assert [row[column] < 0.5 for row in tested.rows] == [False, True, True]
    lost = tried.rows[0][3] - tried.rows[2][3]
    kept = LITE_ACTIVATIONS if 100 * lost <= compressed.ALLOWED else LITE_WEIGHTS
    assert kept in tried.caption
    folder = tmp_path / "photos_litert/3"
    assert {path.name for path in folder.iterdir()} == {"model.tflite", "inputs", "labels.txt", "SHA256SUMS"}


@pytest.mark.parametrize(("right", "kept"), [(199, LITE_ACTIVATIONS), (198, LITE_WEIGHTS)])
def test_int8_activations_may_cost_half_a_point(right, kept):
    labels = np.zeros(200, int)

    def form(count: int) -> Variant:
        return Variant(1, np.eye(2)[(np.arange(200) >= count).astype(int)], 1.0, 1.0)

    forms = {FLOAT32: form(200), LITE_WEIGHTS: form(200), LITE_ACTIVATIONS: form(right)}
    assert compressed.choose_litert_form(forms, labels) == kept


def test_the_table_compares_with_float32():
    labels = np.zeros(4, int)
    base = Variant(4_000_000, np.array([[0.9, 0.1]] * 4), 8.0, 4.0)
    form = Variant(1_000_000, np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6]]), 2.0, 1.5)
    table = compressed.small_table({FLOAT32: base, LITE_WEIGHTS: form}, labels, "document")
    first, second = (dict(zip(table.head, row, strict=True)) for row in table.rows)
    assert first["accuracy"] == 1
    assert (first["points to float32"], first["95% interval of that"]) == (0, "")
    assert second["form"] == LITE_WEIGHTS
    assert (second["MB"], second["size to float32"]) == (1, 0.25)
    assert (second["accuracy"], second["points to float32"]) == (0.75, -25)
    assert (second["ms, one by one"], second["ms, in batches of 32"]) == (2, 1.5)


def test_many_examples_are_drawn_by_the_seed():
    assert compressed.example_indices(10, 0).tolist() == list(range(10))
    first, again, other = (compressed.example_indices(9000, seed) for seed in (0, 0, 1))
    assert len(set(first.tolist())) == compressed.MAX_EXAMPLES
    assert (first == again).all()
    assert (first != other).any()


def test_a_form_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)the form in .*nothing cannot be used: .*OSError"):
        compressed.measure_form(tmp_path / "nothing", [b"a document"])

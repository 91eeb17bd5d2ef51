"""ONNX and .keras files of tiny models: written by Keras, read by ONNX' own runtime."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert

from xmodal.config.run import RunConfig
from xmodal.core.errors import UserError
from xmodal.export import portable
from xmodal.export.portable import export_portable, require_onnx, save_image_inputs, save_text_inputs
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone
from xmodal.models.text_encoder import text_encoder
from xmodal.text.cleaning import text_of

TEMPERATURE = 1.5
# Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DOCUMENTS = ["a red cat", "<b>three</b> dogs and an owl that flies", "", "犬 dog " * 20]


@pytest.fixture
def exported(tmp_path):
    return tmp_path / "saved" / "news" / "1"


def of_documents(tmp_path):
    encoder = text_encoder(save_tiny_bert(tmp_path / "bert"), 16)
    model = text_classifier(encoder.model, 2)
    read = text_of(True)
    logits = model(encoder.preprocessor(read(tf.constant(DOCUMENTS))), training=False)
    inputs = [text.encode() for text in DOCUMENTS]
    return model, save_text_inputs(encoder, read), inputs, tf.nn.softmax(logits / TEMPERATURE).numpy()


def of_images(tmp_path):
    keras.utils.set_random_seed(0)
    backbone = image_backbone("VGG16", 32, ("block1_pool",), cache=tmp_path)
    head = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.03))
    model = keras.Model(backbone.input, head(backbone.output))
    pixels = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8)
    logits = model(pixels.astype(np.float32), training=False)
    inputs = [tf.io.encode_png(image).numpy() for image in pixels]
    return model, save_image_inputs(32), inputs, tf.nn.softmax(logits / TEMPERATURE).numpy()


@pytest.mark.parametrize("made", [of_documents, of_images])
def test_both_files_answer_as_the_model_in_memory(made, exported, tmp_path):
    model, save_inputs, inputs, expected = made(tmp_path)
    assert np.ptp(expected, axis=0).min() > 1e-3
    facts = export_portable(
        exported,
        model,
        temperature=TEMPERATURE,
        names=("animal", "plant"),
        save_inputs=save_inputs,
        inputs=inputs,
        expected=expected,
    )
    folder = exported.parent.parent / "news_portable" / "1"
    assert facts.pop("portable") == str(folder)
    assert set(facts) == {"model.keras: largest difference", "model.onnx: largest difference"}
    assert max(facts.values()) < portable.TOLERANCE
    names = {path.name for path in folder.iterdir()}
    assert names == {"SHA256SUMS", "inputs", "labels.txt", "model.keras", "model.onnx"}
    assert (folder / "labels.txt").read_text() == "animal\nplant\n"


def test_a_file_that_answers_otherwise_is_refused(exported, tmp_path):
    model, save_inputs, inputs, expected = of_images(tmp_path)
    with pytest.raises(RuntimeError, match=r"model.keras differs from the model in memory by 1"):
        export_portable(
            exported,
            model,
            temperature=TEMPERATURE,
            names=("animal", "plant"),
            save_inputs=save_inputs,
            inputs=inputs,
            expected=expected + 1,
        )
    assert not list(exported.parent.parent.glob("news_portable/*"))


@pytest.mark.parametrize("package", ["onnxruntime", "tf2onnx"])
def test_without_the_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"`portable` needs the packages tf2onnx and onnxruntime \("):
        require_onnx(RunConfig(portable=True))
    require_onnx(RunConfig())

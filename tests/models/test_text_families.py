"""Text encoders of every kind, from a folder: what they read, what is trained of them, what is exported."""

import warnings

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import BYTE_PAIRS, ENCODERS, of_byte_pairs, save_tiny_encoder

from xmodal.assets.presets import text_encoder_path
from xmodal.core.errors import UserError
from xmodal.export.saved_model import export_saved_model
from xmodal.export.served_documents import ServedDocuments
from xmodal.models import text_encoder as encoders
from xmodal.models import trainable
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import TextEncoder, bert_word_vectors, text_encoder, with_random_weights
from xmodal.models.trainable import set_trainable
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.optimizers import layer_scales

TEXTS = ["a photo of a cat", "surely a red dog or perhaps a warm bird", "oak", ""]
LENGTH = 12
kinds = pytest.mark.parametrize("kind", ENCODERS)
# One of WordPiece and one of byte pairs; what is trained and exported of the others takes longer.
QUICK = ("bert", "roberta")
slow_kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in ENCODERS]
)
# KerasHub leaves the vocabulary of a SentencePiece tokenizer to the garbage collector, open.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("encoders")
    return {kind: save_tiny_encoder(kind, root / kind) for kind in ENCODERS}


@pytest.fixture(scope="module")
def loaded(folders, tmp_path_factory) -> dict[str, TextEncoder]:
    cache = tmp_path_factory.mktemp("cache")
    return {
        kind: text_encoder(text_encoder_path(folder, cache=cache, offline=True), LENGTH)
        for kind, folder in folders.items()
    }


@kinds
def test_tokens_are_those_of_keras_hub(loaded, folders, kind):
    encoder, tokenizer = loaded[kind], keras_hub.models.Tokenizer.from_preset(folders[kind])
    # Such as an experiment sets, after it has loaded its encoder.
    keras.utils.set_random_seed(1)
    tokens = {name: np.asarray(value) for name, value in encoder.tokens(TEXTS).items()}
    start = getattr(tokenizer, "cls_token_id", None) or tokenizer.start_token_id
    end = getattr(tokenizer, "sep_token_id", None) or tokenizer.end_token_id
    for row, pieces in enumerate(tokenizer(TEXTS)):
        said = [start, *np.asarray(pieces)[: LENGTH - 2], end]
        assert tokens["token_ids"][row].tolist() == said + [tokenizer.pad_token_id] * (LENGTH - len(said))
        assert tokens["padding_mask"][row].sum() == len(said)
    assert set(tokens) == set(encoder.model.input)
    for name, value in tf.function(encoder.tokens)(tf.constant(TEXTS)).items():
        np.testing.assert_array_equal(value, tokens[name])


@kinds
def test_vectors_are_means_of_those_of_keras_hub(loaded, folders, kind):
    encoder, backbone = loaded[kind], keras_hub.models.Backbone.from_preset(folders[kind])
    tokens = encoder.tokens(TEXTS)
    outputs = backbone({name: tokens[name] for name in backbone.input}, training=False)
    vectors = np.asarray(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)
    kept = np.asarray(tokens["padding_mask"], np.float32)[:, :, None]
    expected = (vectors * kept).sum(axis=1) / kept.sum(axis=1)
    found = encoder.model(tokens, training=False).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found[:, None] - found[None]).max(axis=-1)[np.triu_indices(4, 1)].min() > 1e-3


@kinds
def test_what_stands_beside_a_text_changes_nothing(loaded, kind):
    encoder = loaded[kind]
    together = encoder.model(encoder.padded(TEXTS), training=False).numpy()
    for row, text in enumerate(TEXTS):
        alone = encoder.model(encoder.padded([text]), training=False).numpy()
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4, atol=1e-5)


@kinds
def test_layers_are_trained_and_have_rates_of_their_own(folders, kind):
    encoder = text_encoder(folders[kind], LENGTH)
    numbered = [layer.name for layer in encoder.model.layers if layer.name.rpartition("_")[2].isdecimal()]
    assert len(numbered) == (1 if kind == "albert" else 2)
    everything = len(encoder.model.trainable_variables)
    set_trainable(encoder.model, numbered[-1], flag="text_trainable")
    trained = {variable.path.split("/")[0] for variable in encoder.model.trainable_variables}
    assert numbered[-1] in trained
    assert not trained & set(numbered[:-1])
    set_trainable(encoder.model, "head")
    assert encoder.model.trainable_variables == []
    set_trainable(encoder.model, "all")
    assert len(encoder.model.trainable_variables) == everything
    model = text_classifier(encoder.model, 2)
    scales = dict(
        zip((each.path for each in model.trainable_variables), layer_scales(model, 0.5), strict=True)
    )
    for place, name in enumerate(reversed(numbered), start=1):
        assert {scale for path, scale in scales.items() if path.startswith(f"{name}/")} == {0.5**place}
    assert {scale for path, scale in scales.items() if path.startswith("logits/")} == {1}
    assert min(scales.values()) == 0.5 ** (len(numbered) + 1)


@slow_kinds
def test_a_step_of_training_and_an_export_of_strings(folders, kind, tmp_path):
    encoder = text_encoder(folders[kind], LENGTH)
    keras.utils.set_random_seed(1)
    model = text_classifier(encoder.model, 2)
    tokens = encoder.padded(TEXTS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 0, 1], model(tokens, training=True))
        )
    variables = [variable.value for variable in model.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        if gradient is not None:
            variable.assign_sub(0.01 * tf.convert_to_tensor(gradient))
    expected = tf.nn.softmax(model(tokens, training=False)).numpy()
    served = ServedDocuments(
        text=TextClassifier(encoder, model, None), temperature=1.0, prepare=tf.identity, names=("no", "yes")
    )
    answers = tf.saved_model.load(str(export_saved_model(served, tmp_path / kind)))
    found = answers.signatures["serving_default"](text=tf.constant(TEXTS))["probabilities"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@kinds
def test_random_weights(loaded, kind, monkeypatch):
    # XLM-R's table is inside of another layer; it counts as one of many languages here.
    monkeypatch.setattr(trainable, "MULTILINGUAL_VOCABULARY", 20)
    keras.utils.set_random_seed(0)
    new = with_random_weights(loaded[kind], TEXTS)
    vectors = new.model(new.padded(TEXTS), training=False).numpy()
    assert vectors.shape == (4, 16)
    assert np.isfinite(vectors).all()
    assert np.abs(vectors - loaded[kind].model(loaded[kind].padded(TEXTS)).numpy()).max() > 1e-3


def test_words_without_a_known_piece(loaded):
    for kind in ("bert", "distil_bert", "electra"):
        assert loaded[kind].knows(["cat", "zzz", "zzz cat"]).tolist() == [True, False, True]


def test_word_vectors_of_another_kind(folders):
    for kind in ("roberta", "deberta_v3"):
        vectors = bert_word_vectors(folders[kind], ["cat", "dog", "red"], 4)
        assert vectors.shape == (3, 4)


def test_what_is_no_encoder_of_one_text(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"the text encoder '.*' could not be loaded \(\w+: .*\); check the n"
    ):
        text_encoder(str(tmp_path), LENGTH)
    folder = str(tmp_path / "bart")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        keras_hub.models.BartBackbone(len(BYTE_PAIRS), 1, 2, 8, 8).save_to_preset(folder)
    of_byte_pairs(keras_hub.models.BartTokenizer).save_to_preset(folder)
    with pytest.raises(UserError, match=r"the text encoder '.*bart' \(BartBackbone\) does not read one text"):
        text_encoder(folder, LENGTH)


def test_a_reader_of_an_own_kind_is_a_row_of_the_table(tmp_path, monkeypatch, loaded):
    (tmp_path / "mine.bin").write_bytes(b"")
    monkeypatch.setitem(encoders.READERS, "mine.bin", lambda preset, length: loaded["bert"])
    assert text_encoder(str(tmp_path), LENGTH) is loaded["bert"]

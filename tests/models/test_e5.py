"""The 4-bit multilingual encoder: its file, its tokenizer and its vectors."""

import math
import struct
from pathlib import Path

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tiny_e5 import HEADS, HIDDEN, INTERMEDIATE, LENGTH, PIECES, REPLACED, SCORES, tensors, tiny_e5

from xmodal.assets.catalog import E5_FILE
from xmodal.assets.presets import text_encoder_path
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.export import saved_model
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.verification import Question, check
from xmodal.models import e5, e5_file
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder, with_random_weights
from xmodal.tasks.text_classifier import TextClassifier

DATA = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A file of the same form, with one layer and 13 pieces."""
    path = tmp_path_factory.mktemp("tiny_e5") / E5_FILE
    path.write_bytes(tiny_e5())
    return path


# The file.


def test_what_the_file_holds(tiny):
    read = e5_file.read(tiny)
    assert read.sizes == e5_file.Sizes(HIDDEN, 1, HEADS, INTERMEDIATE, len(PIECES), LENGTH, 2)
    assert read.vocabulary.pieces == tuple(PIECES)
    np.testing.assert_allclose(read.vocabulary.scores, SCORES)
    assert read.vocabulary.replaced == REPLACED
    assert set(read.tensors) == set(tensors())
    for name, tensor in tensors().items():
        if tensor.ndim == 1:
            np.testing.assert_array_equal(read.tensors[name], tensor)
        else:
            # Half a step of the scale, which is a seventh of the block's largest weight.
            found = e5_file.dequantise(read.tensors[name]).reshape(-1, 32)
            largest = np.abs(tensor.reshape(-1, 32)).max(axis=1, keepdims=True)
            assert np.all(np.abs(found - tensor.reshape(-1, 32)) <= largest / 13)


def test_four_bits_and_a_scale():
    block = np.zeros(1, e5_file.BLOCK)
    block["scale"] = 0.5
    block["pairs"][0, 0] = 0xF0
    block["pairs"][0, 1] = 0x09
    weights = e5_file.dequantise(block)
    assert weights.dtype == np.float32
    assert weights[:2].tolist() == [-4.0, 0.5]
    assert weights[16:18].tolist() == [3.5, -4.0]


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(ValueError, match=r"The file must begin with b'E5S1'\. Received: .* with b'GGUF'"):
        e5_file.read(path)


def test_a_vocabulary_with_other_ids(tiny, tmp_path):
    content = bytearray(tiny.read_bytes())
    content[48:52] = struct.pack("<i", 7)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ValueError, match=r"must begin with <s>, <pad>, .* of 32 and the ids 7, 1, 2, 3"):
        e5_file.read(tmp_path / "other")


def damaged(content: bytes) -> dict[str, bytes]:
    """Files that another program may have written, or a bad disk."""

    def put(place: int, form: str, value) -> bytes:
        return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]

    return {
        "nothing else": content[:4],
        "half": content[: len(content) // 2],
        "a byte less": content[:-1],
        "width": put(8, "<i", HIDDEN + 1),
        "layers": put(12, "<i", -1),
        "more layers": put(12, "<i", 2),
        "heads": put(16, "<i", 0),
        "a vocabulary without end": put(24, "<i", 2**31 - 1),
        "epsilon": put(36, "<f", math.nan),
        "more pieces": put(44, "<i", len(PIECES) + 1),
        "the end of the pieces": put(64, "<Q", 2**63),
        "a piece of no text": put(76, "<I", 0),
        "a score": put(72 + 4 * (len(PIECES) + 1), "<f", math.inf),
        "a weight": content[:-4] + struct.pack("<f", math.nan),
    }


def test_what_is_damaged_is_told(tiny, tmp_path):
    content = tiny.read_bytes()
    for name, other in damaged(content).items():
        (tmp_path / E5_FILE).write_bytes(other)
        with pytest.raises(UserError, match=r"could not be loaded \(.*; fetch it again, or use another"):
            text_encoder(str(tmp_path), LENGTH)
        assert other != content, name


# The tokenizer.


def preprocessor_of(path: Path) -> e5.Preprocessor:
    return e5.Preprocessor(e5.tokenizer_model(e5_file.read(path).vocabulary), LENGTH)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("ab", ["▁ab"]),
        ("ba", ["▁", "b", "a"]),
        ("  ab \t ab  ", ["▁ab", "▁ab"]),
        ("a\u200db", ["▁", "a", "▁", "b"]),
        ("bª", ["▁", "b", "a"]),
        ("ﬀ", ["▁ab"]),
        ("bé", ["▁", "b", "é"]),
        ("be\u0301", ["▁", "b", "é"]),
        ("bx", ["▁", "b", "<unk>"]),
        ("b\N{GRINNING FACE}", ["▁", "b", "<unk>"]),
        ("", []),
        # What a text says is never a mark of the tokenizer.
        ("<mask>", ["▁", "<unk>", "a", "<unk>"]),
    ],
)
def test_pieces_of_a_text(tiny, text, pieces):
    tokens = preprocessor_of(tiny)(tf.constant([text]))
    ids = tokens["token_ids"].numpy()[0]
    expected = ["<s>", "▁query", ":", *pieces, "</s>"]
    assert [PIECES[index] for index in ids[: len(expected)]] == expected
    assert set(ids[len(expected) :].tolist()) == {PIECES.index("<pad>")}
    assert tokens["padding_mask"].numpy()[0].tolist() == [True] * len(expected) + [False] * (
        LENGTH - len(expected)
    )
    assert not tokens["segment_ids"].numpy().any()


def test_invalid_bytes_are_unknown_and_long_texts_are_cut(tiny):
    preprocessor = preprocessor_of(tiny)
    ids = preprocessor(tf.constant([b"b\xff\xfe", b"ab " * 100_000]))["token_ids"].numpy()
    assert [PIECES[index] for index in ids[0, :6]] == ["<s>", "▁query", ":", "▁", "b", "<unk>"]
    assert [PIECES[index] for index in ids[1]] == ["<s>", "▁query", ":", *["▁ab"] * (LENGTH - 4), "</s>"]


def test_the_tokenizer_runs_in_a_pipeline_and_in_an_export(tiny, tmp_path):
    served = tf.Module()
    served.preprocessor = preprocessor_of(tiny)
    served.read = tf.function(served.preprocessor, [tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(served, str(tmp_path / "saved"))
    texts = tf.constant(["ab", "be\u0301 x"])
    [mapped] = tf.data.Dataset.from_tensors(texts).map(served.preprocessor)
    for tokens in (mapped, tf.saved_model.load(str(tmp_path / "saved")).read(texts)):
        for name, expected in served.preprocessor(texts).items():
            np.testing.assert_array_equal(tokens[name], expected)


def test_a_tokenizer_outlives_a_seed_and_another_tokenizer(tiny):
    texts = tf.constant(["ab", "ba"])
    first = preprocessor_of(tiny)
    expected = first(texts)["token_ids"].numpy()
    second = preprocessor_of(tiny)
    tf.random.set_seed(1)
    del second
    np.testing.assert_array_equal(first(texts)["token_ids"], expected)


def test_the_official_model_is_put_into_the_order_of_the_ids(tiny):
    ours = ModelProto.FromString(e5.tokenizer_model(e5_file.read(tiny).vocabulary))
    official = ModelProto(normalizer_spec=ours.normalizer_spec)
    kinds = ModelProto.SentencePiece
    official.pieces.add(piece="<unk>", type=kinds.UNKNOWN)
    official.pieces.add(piece="<s>", type=kinds.CONTROL)
    official.pieces.add(piece="</s>", type=kinds.CONTROL)
    official.pieces.extend(list(ours.pieces)[4:-1])
    assert ModelProto.FromString(e5.reorder_pieces(official.SerializeToString())).pieces == ours.pieces
    texts = ["ab ba \N{GRINNING FACE} bé", ""]
    theirs = keras_nlp.models.XLMRobertaTokenizer(official.SerializeToString())
    packed = e5.Preprocessor(e5.reorder_pieces(official.SerializeToString()), LENGTH, prefix="")(texts)
    for ids, expected in zip(packed["token_ids"].numpy(), theirs(texts), strict=True):
        assert ids[ids != e5_file.PAD].tolist() == [e5_file.START, *expected, e5_file.END]


# The encoder.


def test_the_table_of_pieces_gives_the_rows_and_is_not_trained(tiny):
    read = e5_file.read(tiny)
    model = e5.encoder_model(read)
    rows = e5_file.dequantise(read.tensors["emb.word"]).reshape(len(PIECES), HIDDEN)
    token_ids = np.array([[0, 5, 12], [7, 7, 1]])
    np.testing.assert_array_equal(model.get_layer("token_embedding")(token_ids), rows[token_ids])
    assert [path for path in (weight.path for weight in model.trainable_weights) if "token" in path] == []
    assert len(model.trainable_weights) == 2 + 2 + 16


def test_from_random_weights_the_table_learns(tiny):
    keras.utils.set_random_seed(0)
    new = with_random_weights(text_encoder(str(tiny.parent), 8), ["a b", "ab"])
    assert {float(np.ptp(weight)) for weight in new.model.get_weights() if weight.ndim == 1} == {0.0}
    table = new.model.get_layer("token_embedding")
    assert table.trainable
    assert isinstance(table, keras.layers.Embedding)
    ids = new.tokens(["a b", "ab", "é"])["token_ids"].numpy()
    assert ids.max() == table.input_dim - 1
    assert new.model(new.tokens(["a b", "é"])).shape == (2, HIDDEN)
    for name, weight in ((weight.path, weight.numpy()) for weight in new.model.weights):
        if name.endswith(("kernel", "embeddings")):
            assert 0.014 < weight.std() < 0.021, name


def test_an_encoder_reads_at_most_what_it_has_positions_for(tiny):
    encoder = text_encoder(str(tiny.parent), LENGTH)
    assert encoder.model(encoder.tokens(["ab", ""])).shape == (2, HIDDEN)
    with pytest.raises(UserError, match=r"`sequence_length=13` is more than the 12 tokens that '.*' reads"):
        text_encoder(str(tiny.parent), LENGTH + 1)


def test_an_export_answers_in_a_process_that_has_neither_the_file_nor_this_package(tiny, tmp_path):
    encoder = text_encoder(str(tiny.parent), LENGTH)
    bert = TextClassifier(encoder, text_classifier(encoder.model, 3), None)
    served = ServedDocuments(text=bert, temperature=1.0, prepare=tf.identity, names=("one", "two", "three"))
    texts = ["ab ba", "be\u0301", "b\N{GRINNING FACE}", ""]
    probabilities = served.answer_texts(tf.constant(texts))["probabilities"].numpy()
    assert np.ptp(probabilities, axis=0).max() > 0.01
    exported = saved_model.export_saved_model(served, tmp_path / "saved")
    question = Question({"text": [text.encode() for text in texts]}, probabilities)
    assert check(exported, [question])["serving_default"] < 1e-5


def test_a_layer_computes_what_the_equations_of_bert_say(tiny):
    """Against NumPy: post-norm attention and exact GELU, with the weights as the file has them."""
    read = e5_file.read(tiny)
    w = {
        name: e5_file.dequantise(tensor).reshape(tensors()[name].shape) if tensor.dtype.names else tensor
        for name, tensor in read.tensors.items()
    }
    erf = np.vectorize(math.erf)

    def norm(x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12) * w[f"{name}.w"] + w[f"{name}.b"]

    def dense(x, part):
        return x @ w[f"l0.{part}.w"].T + w[f"l0.{part}.b"]

    ids = np.array([0, 11, 10, 8, 2])
    x = norm(w["emb.word"][ids] + w["emb.pos"].reshape(LENGTH, HIDDEN)[:5] + w["emb.type"][:HIDDEN], "emb.ln")
    query, key, value = (dense(x, part).reshape(5, HEADS, -1).transpose(1, 0, 2) for part in "qkv")
    scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(HIDDEN / HEADS))
    context = (scores / scores.sum(axis=-1, keepdims=True)) @ value
    x = norm(x + dense(context.transpose(1, 0, 2).reshape(5, HIDDEN), "ao"), "l0.aln")
    inner = dense(x, "fi")
    x = norm(x + dense(inner * 0.5 * (1 + erf(inner / np.sqrt(2))), "fo"), "l0.oln")

    inputs = {"token_ids": np.array([[*ids, 1, 1]]), "segment_ids": np.zeros((1, 7), int)}
    inputs["padding_mask"] = (inputs["token_ids"] != 1).astype(int)
    np.testing.assert_allclose(e5.encoder_model(read)(inputs)[0, :5], x, atol=2e-4)


# The real file, against the vectors of the package that it comes from.


@pytest.fixture(scope="module")
def encoder():
    path = text_encoder_path("multilingual_e5_small", cache=cache_folder())
    return text_encoder(path, 64)


def test_vectors_of_102_sentences_in_6_languages(encoder):
    texts = (DATA / "e5_sentences.txt").read_text(encoding="utf-8").splitlines()
    reference = np.load(DATA / "e5_reference.npz")
    tokens = encoder.padded(texts)
    np.testing.assert_array_equal(tokens["padding_mask"].sum(axis=1), reference["tokens"])
    vectors = encoder.model.predict(tokens, batch_size=34, verbose=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 384**0.5, rtol=1e-3)
    vectors /= 384**0.5
    # That package rounds activations to 8 bits, so that its vectors are not quite these.
    assert np.sum(vectors * reference["vectors"], axis=1).min() > 0.999
    # A sentence stands nearer to its translation than to any other sentence of that language.
    english = vectors[:17]
    for language in range(1, 6):
        nearest = (vectors[17 * language : 17 * language + 17] @ english.T).argmax(axis=1)
        assert np.mean(nearest == np.arange(17)) > 0.9


def test_size_of_the_encoder(encoder):
    assert encoder.model.output_shape == (None, 384)
    trainable = sum(np.prod(weight.shape) for weight in encoder.model.trainable_weights)
    assert trainable == 12 * 1_774_464 + 512 * 384 + 2 * 384 + 2 * 384

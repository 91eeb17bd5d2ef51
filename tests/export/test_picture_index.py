import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from as_served import as_served
from tiny_bert import save_tiny_bert

from xmodal.core.errors import UserError
from xmodal.core.sums import SUMS, write_sums
from xmodal.export.picture_index import (
    ENCODERS,
    PictureIndex,
    ServedSpace,
    ServedTexts,
    load_index,
    save_index,
    search_milliseconds,
    thumbnails,
)
from xmodal.export.saved_model import publish
from xmodal.models.image_backbones import small_cnn
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.shared_space import SharedSpace, projection, sentence_vectors
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer

TEXTS = ["a red cat", "a green oak", "a photo of two birds"]
PIXELS = np.random.default_rng(1).integers(0, 255, (3, 16, 16, 3)).astype(np.uint8)


def index(count=40, width=6) -> PictureIndex:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    return PictureIndex(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        rng.integers(0, 2, count).astype(np.int32),
        rng.integers(0, 255, (count, 4, 4, 3)).astype(np.uint8),
        tuple(f"folder/{number}.png" for number in range(count)),
        ("cat", "dög"),
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory, one_device):
    folder = tmp_path_factory.mktemp("index")
    encoder = text_encoder(save_tiny_bert(folder / "bert"), 24)
    vectors = sentence_vectors(encoder, np.array(TEXTS, object), Trainer(strategy=one_device))
    text_head = projection(vectors, 6, dropout=0.0, name="text")
    trunk = small_cnn(16)
    features = trunk.predict(PIXELS.astype(np.float32), verbose=0)
    image_head = projection(features, 6, dropout=0.0, name="image")
    space = SharedSpace(image_head, text_head, 1.0, History("", ()))
    served = ServedSpace(ServedTexts(encoder, space), trunk, space, 16)
    saved, _ = publish(folder / "pictures", lambda place: save_index(place, index(), served))
    return saved, text_head(vectors).numpy(), image_head(features).numpy()


def test_a_search_is_that_of_brute_force():
    pictures = index()
    queries = pictures.vectors[[3, 7]]
    found, cosines = pictures.search(queries, 5)
    scores = queries @ pictures.vectors.T
    assert found.tolist() == [np.argsort(-row, kind="stable")[:5].tolist() for row in scores]
    assert found[:, 0].tolist() == [3, 7]
    np.testing.assert_allclose(cosines, np.sort(scores, axis=1)[:, ::-1][:, :5], rtol=1e-6)
    # There are no more than there are.
    assert pictures.search(queries, 1000)[0].shape == (2, 40)


def test_fifty_thousand_pictures_take_milliseconds():
    # Far more than it takes on an idle machine.
    assert search_milliseconds(index(width=128).vectors[:1], 50_000) < 500


def test_an_index_comes_back_as_it_was_and_encodes_raw_texts(saved):
    folder, expected, _ = saved
    loaded, encode = load_index(folder)
    original = index()
    for name in ("vectors", "labels", "pictures"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(original, name))
    assert (loaded.ids, loaded.class_names) == (original.ids, original.class_names)
    np.testing.assert_allclose(encode(TEXTS), expected, atol=1e-5)


def test_images_are_served_in_the_space_of_the_texts(saved):
    folder, texts, images = saved
    model = tf.saved_model.load(str(folder / ENCODERS))
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in PIXELS])
    told = model.signatures["embed_image"](image_bytes=encoded)["embedding"]
    np.testing.assert_allclose(told, images, atol=1e-5)
    served = as_served(folder / ENCODERS, {"embed_image": {"image_bytes": encoded.numpy()}})
    np.testing.assert_allclose(served["embed_image"]["embedding"], images, atol=1e-5)
    for name in ("embed_text", "serving_default"):
        told = model.signatures[name](text=tf.constant(TEXTS))["embedding"]
        np.testing.assert_allclose(told, texts, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm([*images, *texts], axis=1), 1, atol=1e-5)


def test_what_is_no_index(tmp_path):
    with pytest.raises(
        UserError, match=r"`index=.*nowhere` is no index .*; give the folder of an index that"
    ):
        load_index(tmp_path / "nowhere")
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(UserError, match="is no index"):
        load_index(tmp_path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda folder: (folder / "vectors.npy").write_bytes(b"x"),
            "vectors.npy' was changed; make the index",
        ),
        (lambda folder: (folder / "labels.npy").unlink(), "labels.npy' is missing; make the index again"),
        (
            lambda folder: (folder / "encoders/saved_model.pb").write_bytes(b""),
            "saved_model.pb' was changed; make the index again",
        ),
    ],
)
def test_an_index_that_is_not_whole(saved, tmp_path, damage, told):
    folder = shutil.copytree(saved[0], tmp_path / "copy")
    damage(folder)
    with pytest.raises(UserError, match=told):
        load_index(folder)


def sealed(folder) -> None:
    """As one would do who forges an index."""
    (folder / SUMS).unlink()
    write_sums(folder)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / SUMS).write_bytes(b""), "' was added; make"),
        (lambda folder: (folder / SUMS).unlink(), "has no SHA256SUMS: no run, or an old one, left it; make"),
        (lambda folder: (folder / "encoders/more").touch(), "more' was added; make the index again"),
        (lambda folder: (folder / "index.json").write_text("{}"), r"is no index \(RecordError: 'format' is"),
    ],
    ids=["emptied", "removed", "added", "no facts"],
)
def test_the_check_cannot_be_switched_off(saved, tmp_path, damage, told):
    folder = shutil.copytree(saved[0], tmp_path / "copy")
    damage(folder)
    with pytest.raises(UserError, match=told):
        load_index(folder)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("labels", np.full(40, 2, np.int32)),
        ("labels", np.full(39, 1, np.int32)),
        ("vectors", np.full((40, 6), np.nan, np.float32)),
        ("vectors", np.zeros((40, 6))),
        ("vectors", np.zeros((40, 7), np.float32)),
        ("pictures", np.zeros((40, 4, 4), np.uint8)),
        ("vectors", np.zeros((0, 6), np.float32)),
    ],
)
def test_a_forged_index_is_refused(saved, tmp_path, name, array):
    folder = shutil.copytree(saved[0], tmp_path / "copy")
    np.save(folder / f"{name}.npy", array)
    sealed(folder)
    with pytest.raises(UserError, match=r"is no index \(ValueError: .*; give the folder of an index"):
        load_index(folder)


def test_another_format(saved, tmp_path):
    folder = shutil.copytree(saved[0], tmp_path / "copy")
    facts = json.loads((folder / "index.json").read_text()) | {"format": 9}
    (folder / "index.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="has format 9, not 3; make it again"):
        load_index(folder)


def test_what_is_shown_is_what_was_read():
    from xmodal.data.images import ImageSplit

    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    items = tf.io.encode_png(pixels).numpy()
    split = ImageSplit(items, np.zeros(3, np.int32), ("a", "b", "c"), (b"", b"", b""), in_memory=True)
    np.testing.assert_array_equal(thumbnails(split, 32), pixels)

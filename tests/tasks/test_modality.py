from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert

from xmodal.config.image import ImageConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.text import TextConfig
from xmodal.data.audit import DataReport
from xmodal.data.documents import DocumentData, DocumentSplit
from xmodal.data.images import ImageData, ImageSplit
from xmodal.models.heads import ClassTexts
from xmodal.tasks.modality import SPREAD, document_modality, image_modality, word_vectors
from xmodal.text.vocabulary import vocabulary_of

WORDS = ("cat", "dog", "bird", "oak", "fir", "very")


def split(texts, labels):
    items = np.empty(len(texts), object)
    items[:] = texts
    return DocumentSplit(items, np.array(labels, np.int32), tuple(map(str, range(len(texts)))))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert") / "bert")


@pytest.fixture(scope="module")
def documents():
    random = np.random.default_rng(0)
    train = split([" ".join(random.choice(WORDS, size)) for size in range(1, 41)], np.arange(40) % 2)
    held_out = split(["cat dog", "", "cat " * 100_000, "fir"], [0, 1, 0, 1])
    return DocumentData(train, held_out, held_out, ("animal", "plant"), DataReport({}, (), (), (), ()))


@pytest.fixture(scope="module")
def modality(documents):
    return document_modality(
        documents,
        ClassTexts(np.eye(2), np.arange(2)),
        "",
        text_config=TextConfig(
            sequence_length=16, text_batch_size=8, length_window=5, text_epochs=3, text_learning_rate=1e-3
        ),
        config=ScorerConfig(vocabulary=10, word_vectors="random", units=4, text_dropout=0.5),
        seed=0,
    )


def test_what_becomes_of_the_words_is_told(modality):
    _, numbered = modality
    assert (numbered["test"].cut, numbered["test"].unknown) == (1, 1)
    assert numbered["test"].lengths.tolist() == [2, 1, 16, 1]


def test_an_epoch_of_documents_has_full_batches_and_its_targets(modality, documents):
    side, numbered = modality
    positions = np.arange(3, 38)
    epochs = [
        [
            (ids.numpy(), targets.numpy())
            for ids, targets, _ in side.train_batches(positions, positions)((0, epoch))
        ]
        for epoch in (0, 1)
    ]
    for batches in epochs:
        assert [len(targets) for _, targets in batches] == [8] * 4
        for ids, targets in batches:
            np.testing.assert_array_equal(ids, numbered["train"].ids[targets])
    seen = [set(np.concatenate([targets for _, targets in batches])) for batches in epochs]
    assert seen[0] != seen[1]


def test_few_documents_are_one_batch(modality):
    batches = list(modality[0].train_batches(np.arange(5), np.arange(5))((0, 0)))
    assert [len(targets) for _, targets, _ in batches] == [5]


def test_reading_tells_its_order(modality):
    side, numbered = modality
    batches, order = side.eval_batches("test", np.array([0, 2, 3]), np.array([5, 7, 9]))
    read, targets = (np.concatenate(parts) for parts in list(zip(*batches, strict=True))[:2])
    np.testing.assert_array_equal(read[np.argsort(order)], numbered["test"].ids[[0, 2, 3]])
    assert targets[np.argsort(order)].tolist() == [5, 7, 9]


def test_documents_without_a_word_and_of_100_000_words_get_an_answer(modality):
    side, numbered = modality
    features = side.encoder()(numbered["test"].ids, training=False).numpy()
    assert features.shape == (4, 16)
    assert np.isfinite(features).all()


def test_word_vectors_from_bert(tmp_path, bert):
    vocabulary = vocabulary_of(["cat cat cats cats bird bird unheard unheard"], 10)
    vectors = word_vectors(vocabulary, bert, 0, width=3)
    assert vectors.shape == (6, 3)
    assert not vectors[:2].any()
    assert np.sqrt(np.mean(vectors[2:] ** 2)) == pytest.approx(SPREAD, rel=1e-5)


def test_word_vectors_at_random_follow_from_the_seed():
    vocabulary = vocabulary_of(["cat cat dog dog"], 10)
    first, again, other = (word_vectors(vocabulary, None, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (4, 100)
    assert not np.array_equal(first, other)


def test_class_texts_of_some_classes():
    texts = ClassTexts(np.arange(10.0).reshape(5, 2), np.array([0, 1, 2, 1, 0]))
    some = texts.take(np.array([1, 0]))
    np.testing.assert_array_equal(some.vectors, texts.vectors[[0, 1, 3, 4]])
    assert some.targets.tolist() == [1, 0, 0, 1]


def test_shares_among_some_classes_have_a_sum_of_one(modality):
    given, _ = modality
    shares = np.array([[0.5, 0.25, 0.25], [0.2, 0.0, 0.8], [0.0, 1.0, 0.0]], np.float32)
    labels = {"train": np.array([0, 2, 1])}
    hard = replace(given, class_names=("a", "b", "c"), labels=labels)
    soft = replace(hard, shares={"train": shares})
    classes, positions = np.array([2, 0]), np.array([1, 0])
    assert hard.targets_among(classes, "train", positions).tolist() == [0, 1]
    np.testing.assert_allclose(soft.targets_among(classes, "train", positions), [[0.8, 0.2], [1 / 3, 2 / 3]])


def test_an_epoch_of_documents_has_the_shares_of_its_targets(modality):
    given, numbered = modality
    positions = np.arange(24)
    shares = np.random.default_rng(0).dirichlet(np.ones(2), 24).astype(np.float32)
    found = {}
    for ids, targets, _ in given.train_batches(positions, shares)((0, 0)):
        found |= {row.tobytes(): target for row, target in zip(ids.numpy(), targets.numpy(), strict=True)}
    assert len(found) == 24
    for place, target in zip(positions, shares, strict=True):
        np.testing.assert_array_equal(found[numbered["train"].ids[place].tobytes()], target)


def test_an_epoch_of_images_has_the_shares_of_its_targets():
    items = np.array([tf.io.encode_png(np.full((4, 4, 3), n, np.uint8)).numpy() for n in range(6)], object)
    ids = tuple(map(str, range(6)))
    images = ImageSplit(items, np.arange(6, dtype=np.int32) % 2, ids, (b"",) * 6, in_memory=True)
    data = ImageData(images, images, images, ("a", "b"), DataReport({}, (), (), (), ()))
    modality = image_modality(
        data,
        ClassTexts(np.eye(2), np.arange(2)),
        None,
        ImageConfig(augment=()),
        image_size=4,
        batch_size=2,
    )
    positions = np.array([5, 1, 3, 2])
    for targets in (np.array([0, 1, 1, 0]), np.array([[0.2, 0.8], [1, 0], [0.5, 0.5], [0, 1]], np.float32)):
        for pictures, found, weights in modality.train_batches(positions, targets)((0, 0)):
            for picture, target in zip(pictures.numpy(), found.numpy(), strict=True):
                [place] = np.flatnonzero(positions == picture[0, 0, 0])
                np.testing.assert_array_equal(target, targets[place])
            assert weights.shape == (2,)

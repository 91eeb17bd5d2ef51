import numpy as np
import pytest
import tensorflow as tf

from xmodal.bridge.captions import write_captions
from xmodal.config.image import ImageConfig
from xmodal.config.training import TrainConfig
from xmodal.evaluation.ranking import class_scores, rank
from xmodal.tasks.shared_space import contrastive_loss, project, train_shared_space
from xmodal.training.trainer import Trainer


def unit(shape, seed):
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_loss_is_that_of_unicl_written_out():
    labels = [0, 1, 0, 2, 0]
    images, texts, scale = unit((5, 4), 0), unit((5, 4), 1), 7.0
    scores = scale * images @ texts.T

    def of(row, same):
        return -np.mean([np.log(np.exp(row[k]) / np.exp(row).sum()) for k in same])

    expected = []
    for place, label in enumerate(labels):
        same = [k for k in range(5) if labels[k] == label]
        expected.append((of(scores[place], same) + of(scores[:, place], same)) / 2)
    outputs = tf.constant(np.concatenate([scale * images, texts], axis=1), tf.float32)
    np.testing.assert_allclose(contrastive_loss(tf.constant(labels), outputs), expected, rtol=1e-5)


def test_examples_of_one_class_are_no_negatives():
    """What the plain contrastive loss punishes: two pairs of one class at one place."""
    same = np.repeat([[1.0, 0.0], [0.0, 1.0]], 2, axis=0)
    outputs = tf.constant(np.concatenate([30 * same, same], axis=1), tf.float32)
    losses = contrastive_loss(tf.constant([0, 0, 1, 1]), outputs).numpy()
    # All that is left is the choice between the two texts of the class, which nothing can make.
    np.testing.assert_allclose(losses, np.log(2), atol=1e-5)
    outputs = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(contrastive_loss(tf.constant([0, 0, 1, 1]), outputs))
    assert np.abs(tape.gradient(loss, outputs)).max() < 1e-5


def test_a_ranking_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    # Few different scores, so that there are ties.
    scores = rng.integers(0, 6, (40, 23)).astype(np.float32)
    relevant = rng.random((40, 23)) < 0.15
    relevant[:, 3] |= ~relevant.any(axis=1)
    firsts, precisions = [], []
    for row, wanted in zip(scores, relevant, strict=True):
        order = sorted(range(23), key=lambda place: (-row[place], place))
        ranks = [place + 1 for place, candidate in enumerate(order) if wanted[candidate]]
        firsts.append(ranks[0])
        precisions.append(np.mean([(found + 1) / at for found, at in enumerate(ranks)]))
    ranking = rank(scores, relevant)
    assert ranking.recall == {k: np.mean([first <= k for first in firsts]) for k in (1, 5, 10)}
    assert ranking.median_rank == np.median(firsts)
    assert ranking.mean_average_precision == pytest.approx(np.mean(precisions))


def test_a_query_without_anything_relevant_is_refused():
    with pytest.raises(ValueError, match=r"with something relevant to each query. Received: \(2, 3\)"):
        rank(np.zeros((2, 3)), np.array([[True, False, False], [False] * 3]))


def test_classes_with_more_texts_are_no_more_probable():
    scores = np.zeros((1, 5))
    np.testing.assert_allclose(class_scores(scores, np.array([0, 0, 0, 1, 2]), 3), np.full((1, 3), 1 / 3))


@pytest.mark.parametrize("devices", ["one_device", pytest.param("mirrored", marks=pytest.mark.slow)])
def test_images_and_texts_that_belong_together_meet(devices, request):
    training = TrainConfig(dropout=0.0, batch_size=16, patience=12)
    trainer = Trainer(training, strategy=request.getfixturevalue(devices))
    rng = np.random.default_rng(0)
    captions, _ = write_captions(("cat", "dog", "oak"))
    centres = rng.normal(size=(3, 6)).astype(np.float32)
    labels = np.repeat(np.arange(3), 20).astype(np.int32)
    features = centres[labels] + 0.1 * rng.normal(size=(60, 6)).astype(np.float32)
    vectors = rng.normal(size=(3, 5)).astype(np.float32)[captions.labels]
    vectors += 0.1 * rng.normal(size=vectors.shape).astype(np.float32)
    config = ImageConfig(head_epochs=12, head_learning_rate=1e-2)
    space = train_shared_space(
        (features, labels),
        (features[::5], labels[::5]),
        vectors,
        captions,
        config,
        trainer,
        width=8,
        scale=10.0,
    )
    assert set(space.history.epochs[0]) >= {"loss", "val_loss"}
    assert "accuracy" not in space.history.epochs[0]
    assert "val_accuracy" not in space.history.epochs[0]
    images = project(space.image_head, features, trainer)
    texts = project(space.text_head, vectors, trainer)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    relevant = labels[:, None] == captions.labels[None, :]
    assert rank(images @ texts.T, relevant).recall[1] == 1
    assert rank(texts @ images.T, relevant.T).mean_average_precision > 0.99

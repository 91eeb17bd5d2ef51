"""Labels that are doubtful."""

import numpy as np

from xmodal.evaluation.label_doubts import label_doubts


def noisy(count: int, wrong: float, sharp: float, seed: int = 0):
    """Probabilities, given labels and true ones of which a share was changed."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, count)
    labels = np.where(rng.random(count) < wrong, (truth + rng.integers(1, 4, count)) % 4, truth)
    logits = rng.normal(0, 1, (count, 4)) + sharp * np.eye(4)[truth]
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), labels, truth


def test_wrong_labels_are_found_and_right_ones_suggested():
    probabilities, labels, truth = noisy(4000, 0.2, sharp=5.0)
    found = label_doubts(probabilities, labels)
    wrong = labels != truth
    assert wrong[found.doubtful].mean() > 0.95
    assert found.doubtful[wrong].mean() > 0.9
    assert (found.suggested[found.doubtful] == truth[found.doubtful]).mean() > 0.95
    assert (found.suggested[~found.doubtful] == labels[~found.doubtful]).all()
    # The worst come first, and are nearly all wrong.
    assert (np.diff(found.of_label[found.worst_first]) >= 0).all()
    assert wrong[found.worst_first[:100]].mean() > 0.99


def test_the_joint_counts_labels_by_class():
    probabilities, labels, truth = noisy(20_000, 0.3, sharp=6.0)
    joint = label_doubts(probabilities, labels).joint
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(labels), rtol=1e-9)
    counted = np.zeros((4, 4))
    np.add.at(counted, (labels, truth), 1)
    np.testing.assert_allclose(joint, counted, atol=150)


def test_a_class_of_nobody_and_one_that_is_rarely_likely():
    """By its own threshold a class that gets little everywhere may still be confidently meant."""
    probabilities = np.array([[0.7, 0.3, 0.0]] * 4 + [[0.65, 0.35, 0.0]] * 4 + [[0.6, 0.4, 0.0]])
    labels = np.array([0] * 4 + [1] * 4 + [0])
    found = label_doubts(probabilities, labels)
    assert found.suggested[8] == 1
    assert found.joint[:, 2].sum() == 0

"""Labels that are doubtful, told by the probabilities of a classifier that did not learn them."""

from dataclasses import dataclass

import numpy as np

from xmodal.evaluation.metrics import check_probabilities


@dataclass(frozen=True)
class LabelDoubts:
    """What confident learning finds among N labels.

    Attributes:
        doubtful: bool (N,), whether an example is confidently of another class than its label's.
        suggested: the class that it is of (N,); that of the label where nothing is doubtful.
        of_label: the probability of the label (N,), 0 to 1: the lower, the worse.
        joint: how many examples with each label (rows) are of each class (columns), (C, C): the confident
            joint, scaled to the number of examples with each label.
    """

    doubtful: np.ndarray
    suggested: np.ndarray
    of_label: np.ndarray
    joint: np.ndarray

    @property
    def worst_first(self) -> np.ndarray:
        """The indices of the doubtful examples, in the order of their labels' probabilities."""
        indices = np.flatnonzero(self.doubtful)
        return indices[np.argsort(self.of_label[indices], kind="stable")]


def label_doubts(probabilities: np.ndarray, labels: np.ndarray) -> LabelDoubts:
    """Finds labels that are confidently wrong.

    Confident learning (Northcutt et al. 2021, arXiv:1911.00068, equations 1 and 2): an example is
    confidently of a class when it gets at least the mean probability that the class gets among the examples
    with its label, and of several such classes of the likeliest. Doubtful is who is so of another class than
    the label's: the off-diagonal entries of the confident joint.

    Args:
        probabilities: (N, C), each row by a model that did not learn from this example.
        labels: (N,), the given class indices.

    Raises:
        ValueError: for shapes, probabilities or labels that do not fit.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
        >>> found = label_doubts(probabilities, np.array([0, 0, 1, 1, 0]))  # the last one is no 0
        >>> found.worst_first, found.suggested[4]
        (array([4]), np.int64(1))
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    classes = probabilities.shape[1]
    one_hot = np.eye(classes)[labels]
    counts = one_hot.sum(axis=0)
    # A class that is nobody's label has no threshold that could be reached.
    thresholds = np.where(counts > 0, (one_hot * probabilities).sum(axis=0) / np.maximum(counts, 1), np.inf)
    confident = probabilities >= thresholds
    of_class = np.where(confident, probabilities, -1.0).argmax(axis=1)
    is_doubtful = confident.any(axis=1) & (of_class != labels)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[confident.any(axis=1)], of_class[confident.any(axis=1)]), 1)
    joint *= (counts / np.maximum(joint.sum(axis=1), 1))[:, None]
    label_probabilities = probabilities[np.arange(len(labels)), labels]
    return LabelDoubts(is_doubtful, np.where(is_doubtful, of_class, labels), label_probabilities, joint)

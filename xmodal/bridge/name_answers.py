"""Answers to a new question from the names that a classifier knows: by what the words mean, untrained.

After ConSE (Norouzi et al. 2014, arXiv:1312.5650), with vectors of sentences in the place of those of words.
"""

from collections.abc import Sequence

import numpy as np

from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import FLOOR, mean_entropy, softmax

# These were chosen on training images of CIFAR-10 and every second one of the photographs that have a kind.

# Images of each answer, on average, from which the scores of all are taken for what is usual of an answer. On
# CIFAR-10 it pays from 1 on, and 10 to 100 are alike; of photographs, 6 an answer are too few (91% for 96%).
ENOUGH_IMAGES = 30
# The share of the largest mean entropy from which a classifier is unsure of all that it sees: it is 0.21 for
# photographs such as it learned from, and 0.59 for 32 pixels enlarged to 224.
UNSURE = 0.4
# Makes logits of scores in standard deviations: of 0.5 to 3, the one with the lowest log loss.
SHARPNESS = 2.0
# Makes logits of cosines: of 5 to 40, the lowest log loss of both together (photographs: 40, CIFAR-10: 10).
SCALE = 20.0


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors (..., D) at length 1, in float64."""
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), FLOOR)


def similarities(vectors: np.ndarray, descriptions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the cosine of each text with each answer: with the nearest of its descriptions.

    Args:
        vectors: of the texts (N, D).
        descriptions: vectors of the answers' descriptions (M, D).
        targets: the answer of each (M,), from 0 to C - 1, every answer at least once.

    Returns:
        (N, C).
    """
    order = np.argsort(targets, kind="stable")
    cosines = unit(vectors) @ unit(descriptions[order]).T
    starts = np.searchsorted(targets[order], np.arange(targets.max() + 1))
    return np.maximum.reduceat(cosines, starts, axis=1)


def name_weights(names: np.ndarray, descriptions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns P(n|c), how much of an answer each name is: (N, C), columns that sum to 1.

    They are the softmax over the names of their cosines with the answer, in standard deviations over all
    names: some answers are closer than others to every name there is, and that says nothing.

    Args:
        names: vectors of the names' sentences (N, D).
        descriptions, targets: as `similarities` takes them.

    Example:
        >>> names = np.eye(3)
        >>> weights = name_weights(names, names[:2], np.array([0, 1]))
        >>> weights.argmax(axis=0).tolist()
        [0, 1]
    """
    cosines = similarities(names, descriptions, targets)
    return softmax(standardise(cosines).T).T


def speaker_temperature(logits: np.ndarray) -> float:
    """Returns how much to soften a classifier's logits (B, N) before its names are read, from images alone.

    A classifier that knows its images names one and is to be believed: 1. One that sees images unlike those
    it learned from is unsure of everything, and says most by which names rise together: its mean entropy in
    nats. Chosen on half of the photographs (1.4) and training images of CIFAR-10 (4.1), where any from 4 up
    is as good.
    """
    return max(1.0, mean_entropy(softmax(logits)))


def reads_together(logits: np.ndarray, answers: int, enough: int = ENOUGH_IMAGES) -> bool:
    """Tells whether images are to be compared with each other, and not each read by itself.

    That is where a classifier is unsure of all of them, and they are many: it says the same of every one, and
    what it says of one more than of others counts. It takes the answers for about equally frequent. Where
    the classifier knows what it sees, that costs more than it gives: of 253 photographs, can it fly (9% can)
    98% right when each is read by itself, and 60% when they are compared.

    Args:
        logits: of the classifier (B, N).
        answers: C.
        enough: images for each answer from which there are many.
    """
    is_unsure = mean_entropy(softmax(logits)) > UNSURE * np.log(logits.shape[1])
    return len(logits) >= enough * answers and bool(is_unsure)


def read_names(
    logits: np.ndarray,
    names: np.ndarray,
    descriptions: np.ndarray,
    targets: np.ndarray,
    *,
    enough: int = ENOUGH_IMAGES,
) -> np.ndarray:
    """Answers for images by the names that a classifier gives them: logits (B, C).

    Each image is read by itself, as ConSE does: where the vectors of the names are on average, weighted by
    P(n|x), the nearest answer is. Of many images that the classifier is unsure of, see `reads_together`, an
    answer's score is sum_n P(n|x) P(n|c), in standard deviations from what all images have: an answer that
    fits them all says nothing of any.

    Args:
        logits: of the classifier (B, N).
        names: vectors of the names' sentences (N, D).
        descriptions, targets: as `similarities` takes them.
        enough: images for each answer from which there are many.
    """
    if not reads_together(logits, targets.max() + 1, enough):
        return SCALE * similarities(softmax(logits) @ unit(names), descriptions, targets)
    shares = softmax(logits, speaker_temperature(logits))
    return SHARPNESS * standardise(shares @ name_weights(names, descriptions, targets))


def project(logits: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Maps images into the space of sentences, where the names' vectors give the classifier's logits back.

    The least-squares form of what TextUnlock trains (U-F2-CBM, arXiv:2503.10981): u = V^+ (l - mean l), with
    which u . v_n is as near to each logit as vectors of D numbers can be. As a classifier's logits are linear
    in its features, so is the map; any word can be compared with u, not names alone.

    Args:
        logits: of the classifier (B, N).
        names: vectors of the names' sentences (N, D).

    Returns:
        (B, D).
    """
    directions = unit(names)
    directions = directions - directions.mean(axis=0)
    gram = directions.T @ directions + np.eye(directions.shape[1])
    centred_logits = logits - logits.mean(axis=1, keepdims=True)
    return centred_logits @ directions @ np.linalg.inv(gram)


def spoken_names(logits: np.ndarray, weights: np.ndarray, answers: np.ndarray, most: int) -> list[list[int]]:
    """Returns the names that spoke for each answer, the loudest first.

    Args:
        logits: of the classifier (B, N).
        weights: P(n|c) (N, C).
        answers: what was answered for each image (B,).
        most: names of an answer.

    Returns:
        Indices of names for each of C answers; none for an answer that was given to no image.
    """
    shares = softmax(logits)
    nearest = []
    for answer in range(weights.shape[1]):
        votes = shares[answers == answer].sum(axis=0) * weights[:, answer]
        nearest.append([int(name) for name in np.argsort(-votes, kind="stable")[:most] if votes[name] > 0])
    return nearest


def require_distinct(tokens: np.ndarray, targets: np.ndarray, texts: Sequence[str]) -> None:
    """Refuses descriptions of different answers that an encoder reads as the same.

    Args:
        tokens: what it reads of each description (M, T).
        targets: the answer of each (M,).
        texts: the descriptions (M,).

    Raises:
        UserError: naming the first two.
    """
    index_by_tokens: dict[bytes, int] = {}
    for index, row in enumerate(tokens):
        first = index_by_tokens.setdefault(row.tobytes(), index)
        if targets[first] != targets[index]:
            raise UserError(
                f"the text encoder reads {texts[first]!r} and {texts[index]!r} as the same",
                "use other words, or `text_encoder=multilingual_e5_small` for other languages",
            )


def standardise(scores: np.ndarray) -> np.ndarray:
    """Returns scores (N, C) less each column's mean, in its standard deviations."""
    return (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), FLOOR)

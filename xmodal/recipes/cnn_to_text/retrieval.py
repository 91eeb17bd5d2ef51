"""Retrieval across modalities: a sound finds the pictures that are named like it, and the other way round."""

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np

from xmodal import report
from xmodal.bridge.class_names import readable
from xmodal.evaluation.intervals import Z95, wilson_interval
from xmodal.evaluation.ranking import rank_each
from xmodal.tasks.modality import Modality

# Test examples that are searched, and that are searched for.
MAX_EXAMPLES = 5_000


class Named(NamedTuple):
    """Examples as what is said of them: probabilities of names (N, K), and the right ones (N,)."""

    shares: np.ndarray
    labels: np.ndarray


def retrieval_tables(
    modalities: Mapping[str, Modality], probabilities: Mapping[str, np.ndarray]
) -> Iterator[report.Table]:
    """Yields a table of how well the test examples of each modality find those of another.

    Two are alike by the probability that both have one name, of the names that their modalities share:
    nothing was learned of pairs.

    Args:
        modalities: by name.
        probabilities: of the classes of the test examples (N, C), by the names of the modalities.
    """
    rows = []
    for one, other in permutations(modalities, 2):
        names = shared_names(modalities[one], modalities[other])
        if len(names) > 1:
            queries, candidates = (
                named(modalities[side], probabilities[side], names) for side in (one, other)
            )
            rows.append((f"{one} -> {other}", *_row(queries, candidates)))
            if (direction := f"names -> {other}") not in [row[0] for row in rows]:
                rows.append((direction, *_row(Named(np.eye(len(names)), np.arange(len(names))), candidates)))
    if rows:
        head = (
            "test examples, the best first",
            "queries",
            "among",
            "recall@1",
            "recall@5",
            "mean average precision",
        )
        caption = "Retrieval across modalities by the names that are shared, with 95% intervals"
        yield report.Table(caption, head, tuple(rows))


def shared_names(one: Modality, other: Modality) -> tuple[str, ...]:
    """Returns the names of classes that two modalities have, as they are read."""
    others = set(map(readable, other.class_names))
    return tuple(name for name in map(readable, one.class_names) if name in others)


def named(modality: Modality, probabilities: np.ndarray, names: tuple[str, ...]) -> Named:
    """Returns the test examples of some classes, as probabilities of these."""
    index_by_name = {readable(name): index for index, name in enumerate(modality.class_names)}
    classes = np.array([index_by_name[name] for name in names])
    labels = modality.labels["test"]
    indices = np.flatnonzero(np.isin(labels, classes))
    indices = indices[np.linspace(0, len(indices) - 1, min(MAX_EXAMPLES, len(indices))).round().astype(int)]
    shares = probabilities[indices][:, classes]
    position = np.full(len(modality.class_names), -1)
    position[classes] = np.arange(len(classes))
    return Named(shares / shares.sum(axis=1, keepdims=True), position[labels[indices]])


def _row(queries: Named, candidates: Named) -> tuple[int, int, str, str, str]:
    relevant = queries.labels[:, None] == candidates.labels
    answerable = relevant.any(axis=1)
    first, precision = rank_each((queries.shares @ candidates.shares.T)[answerable], relevant[answerable])
    half = Z95 * precision.std(ddof=1) / np.sqrt(len(precision)) if len(precision) > 1 else 1.0
    mean, low, high = precision.mean(), max(precision.mean() - half, 0), min(precision.mean() + half, 1)
    interval = f"{mean:.3f} ({low:.3f} to {high:.3f})"
    return len(first), len(candidates.labels), _share(first <= 1), _share(first <= 5), interval


def _share(right: np.ndarray) -> str:
    low, high = wilson_interval(int(right.sum()), len(right))
    return f"{right.mean():.1%} ({low:.1%} to {high:.1%})"

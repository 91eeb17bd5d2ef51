"""What is left when images or texts are missing, and which side a gate trusts: tables, plots and sentences.

"right" names booleans (N,): whether each test pair was answered rightly. They are kept by the name of a
model and by which modalities were visible to it: "both", "image" or "text".
"""

from collections.abc import Iterator, Sequence

import numpy as np

from xmodal.evaluation.intervals import Comparison, compare_paired, wilson_interval
from xmodal.report import Plot, Series, Table

Rights = dict[str, dict[str, np.ndarray]]

SHARES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)  # %
# A side that is missing -> what is visible, and the model that reads only that.
WITHOUT = {"text": ("image", "image_only"), "image": ("text", "text_only")}
# Pairs of each kind that the table of a gate shows.
EXAMPLES = 4


def missing_curves(rights: Rights, fused: Sequence[str], seed: int) -> Iterator[Plot]:
    """Yields the accuracy over the share of pairs that lose their text, and over that of lost images.

    Args:
        rights: of the fused models with all that may be visible, of each side's model with "both".
        fused: names of the fused models.
        seed: which pairs lose a side; those of a smaller share do in a larger one too.
    """
    for missing, (left, alone) in WITHOUT.items():
        n = len(rights[alone]["both"])
        rank = np.random.default_rng(seed).permutation(n)
        series = [_flat(alone, rights[alone]["both"])]
        for name in fused:
            curve = [
                np.where(rank < share * n / 100, rights[name][left], rights[name]["both"]) for share in SHARES
            ]
            series.append(_series(name, curve))
        yield Plot(
            f"Test accuracy by how many pairs lose their {missing}, with 95% intervals",
            f"pairs without their {missing}, %",
            "accuracy, %",
            tuple(series),
        )


def missing_table(rights: Rights, fused: Sequence[str]) -> Table:
    """Returns the accuracy of each fused model without texts and without images, beside one side's model."""
    rows = []
    for name in fused:
        row: tuple[str, ...] = (name, _format_accuracy(rights[name]["both"]))
        for left, alone in WITHOUT.values():
            gain = compare_paired(rights[name][left], rights[alone]["both"])
            low, high = gain.ci95
            points = f"{100 * gain.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            row += (_format_accuracy(rights[name][left]), points)
        rows.append(row)
    head = (
        "model",
        "with both sides",
        "without texts",
        "points above image_only",
        "without images",
        "points above text_only",
    )
    return Table("Test accuracy when a side is missing, with 95% intervals", head, tuple(rows))


def missing_comparisons(rights: Rights, name: str) -> tuple[Comparison, ...]:
    """Returns what a fused model gains or loses without one side against the model of the other side."""
    return tuple(
        compare_paired(
            rights[name][left],
            rights[alone]["both"],
            what=f"{name} without any {missing}, in the place of {alone},",
            unit="pairs",
        )
        for missing, (left, alone) in WITHOUT.items()
    )


def least_without_a_modality(rights: Rights, fused: Sequence[str]) -> float:
    """Returns the least difference, in points, of a fused model without a modality to the other's model."""
    return min(
        100 * float(np.mean(rights[name][left]) - np.mean(rights[alone]["both"]))
        for name in fused
        for left, alone in WITHOUT.values()
    )


def trust_table(weights: np.ndarray, image_right: np.ndarray, text_right: np.ndarray) -> Table:
    """Returns whether a gate trusts the side that is right.

    Args:
        weights: of the image in each pair's gate (N,), 0 to 1.
        image_right, text_right: what each side's own model answers (N,).
    """
    kinds = {
        "both sides": image_right & text_right,
        "the image alone": image_right & ~text_right,
        "the text alone": ~image_right & text_right,
        "neither": ~image_right & ~text_right,
    }
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (
            name,
            int(chosen.sum()),
            *(f"{value:.3f}" for value in np.quantile(weights[chosen], (0.25, 0.5, 0.75))),
        )
        for name, chosen in kinds.items()
        if chosen.any()
    )
    head = ("right is", "test pairs", "lower quartile", "median", "upper quartile")
    return Table("Weight of the image in the gate, by the side whose own model is right", head, rows)


def trusted_pairs(
    weights: np.ndarray,
    labels: np.ndarray,
    answers: dict[str, np.ndarray],
    texts: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str],
) -> Table:
    """Returns test pairs about which image and text disagree, where the gate is most for one of them.

    Args:
        weights: of the image in each pair's gate (N,), 0 to 1.
        labels: (N,).
        answers: "image_only", "text_only" and "fused_gated" -> the class that it answers (N,).
        texts, ids: of the pairs (N,).
        class_names: the C names.
    """
    apart = np.flatnonzero(answers["image_only"] != answers["text_only"])
    ranked = apart[np.argsort(weights[apart], kind="stable")]
    right = answers["fused_gated"][ranked] == labels[ranked]
    picked = [
        *ranked[right][::-1][:EXAMPLES],
        *ranked[right][:EXAMPLES],
        *ranked[~right][::-1][: EXAMPLES // 2],
        *ranked[~right][: EXAMPLES // 2],
    ]
    rows: tuple[tuple[str, ...], ...] = tuple(
        (
            ids[index],
            str(texts[index])[:80],
            class_names[labels[index]],
            *(class_names[answer[index]] for answer in answers.values()),
            f"{weights[index]:.3f}",
        )
        for index in dict.fromkeys(picked)
    )
    head = ("pair", "text", "class", *(f"answer of {name}" for name in answers), "weight of the image")
    return Table("Whom the gate trusted where image and text disagree: the clearest pairs", head, rows)


def _series(name: str, curve: Sequence[np.ndarray]) -> Series:
    intervals = [wilson_interval(int(right.sum()), len(right)) for right in curve]
    return Series(
        name,
        tuple(map(float, SHARES)),
        tuple(100 * float(right.mean()) for right in curve),
        low=tuple(100 * low for low, _ in intervals),
        high=tuple(100 * high for _, high in intervals),
    )


def _flat(name: str, right: np.ndarray) -> Series:
    return _series(name, [right] * len(SHARES))


def _format_accuracy(right: np.ndarray) -> str:
    low, high = wilson_interval(int(right.sum()), len(right))
    return f"{right.mean():.2%} ({low:.2%} to {high:.2%})"

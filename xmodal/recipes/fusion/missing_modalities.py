"""What is left when images, texts or sounds are missing, and which a gate trusts: tables, plots, sentences.

"right" names booleans (N,): whether each test pair was answered rightly. They are kept by the name of a
model and by which modalities were visible to it, see `subsets`: "both", "image" or "text".
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from xmodal.data.modalities import SIDES, subsets
from xmodal.evaluation.intervals import Comparison, compare_paired, wilson_interval
from xmodal.models.fusion import alone_of
from xmodal.report import Plot, Series, Table

Rights = dict[str, dict[str, np.ndarray]]

SHARES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)  # %
# Pairs of each kind that the table of a gate shows.
EXAMPLES = 4


def missing_parts(rights: Rights) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yields what is missing, the name of what is left, and the best model of one modality that is left."""
    modalities = tuple(name.removesuffix("_only") for name in rights if name.endswith("_only"))
    whole, *_ = subsets(modalities)
    for visible, part in subsets(modalities).items():
        missing = tuple(name for name in modalities if name not in part)
        if missing:
            yield missing, visible, max(alone_of(part), key=lambda name: rights[name][whole].mean())


def _whole(right: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns what a model answers rightly that sees all modalities."""
    return next(iter(right.values()))


def missing_curves(rights: Rights, fused: Sequence[str], seed: int) -> Iterator[Plot]:
    """Yields the accuracy over the share of pairs that lose their text, and over those of other modalities.

    Args:
        rights: of the fused models with all that may be visible, of the models of one modality with "both".
        fused: names of the fused models.
        seed: which pairs lose a side; those of a smaller share do in a larger one too.
    """
    for missing, visible, unimodal in missing_parts(rights):
        if len(missing) > 1:
            continue
        n = len(_whole(rights[unimodal]))
        rank = np.random.default_rng(seed).permutation(n)
        series = [_flat(unimodal, _whole(rights[unimodal]))]
        for name in fused:
            curve = [
                np.where(rank < share * n / 100, rights[name][visible], _whole(rights[name]))
                for share in SHARES
            ]
            series.append(_series(name, curve))
        yield Plot(
            f"Test accuracy by how many pairs lose their {missing[0]}, with 95% intervals",
            f"pairs without their {missing[0]}, %",
            "accuracy, %",
            tuple(series),
        )


def missing_table(rights: Rights, fused: Sequence[str], count: int = 1) -> Table:
    """Returns the accuracy of each fused model without texts, without images and so on.

    Args:
        rights: as `missing_curves` takes them.
        fused: names of the fused models.
        count: of the modalities that are missing.
    """
    parts = [part for part in missing_parts(rights) if len(part[0]) == count]
    rows = []
    for name in fused:
        row: tuple[str, ...] = (name, _format_accuracy(_whole(rights[name])))
        for _, visible, unimodal in parts:
            gain = compare_paired(rights[name][visible], _whole(rights[unimodal]))
            low, high = gain.ci95
            points = f"{100 * gain.difference:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            row += (_format_accuracy(rights[name][visible]), points)
        rows.append(row)
    sides = SIDES[sum(name.endswith("_only") for name in rights)]
    head = ["model", f"with {sides}"]
    for missing, _, unimodal in parts:
        head += [f"without {' and '.join(f'{name}s' for name in missing)}", f"points above {unimodal}"]
    what = "a side is" if count == 1 else "two sides are"
    return Table(f"Test accuracy when {what} missing, with 95% intervals", tuple(head), tuple(rows))


def missing_comparisons(rights: Rights, name: str) -> tuple[Comparison, ...]:
    """Returns what a fused model gains or loses without a part, against the best model of the rest."""
    return tuple(
        compare_paired(
            rights[name][visible],
            _whole(rights[unimodal]),
            what=f"{name} without any {' or '.join(missing)}, in the place of {unimodal},",
            unit="pairs",
        )
        for missing, visible, unimodal in missing_parts(rights)
    )


def least_without_a_modality(rights: Rights, fused: Sequence[str]) -> float:
    """Returns the least difference, in points, of a fused model without a part to a model of the rest."""
    return min(
        100 * float(np.mean(rights[name][visible]) - np.mean(_whole(rights[unimodal])))
        for name in fused
        for _, visible, unimodal in missing_parts(rights)
    )


def trust_table(weights: np.ndarray, right: Mapping[str, np.ndarray], modality: str = "image") -> Table:
    """Returns whether a gate trusts the modality that is right.

    Args:
        weights: of one modality in each pair's gate (N,), 0 to 1.
        right: modality -> whether its own model answers each pair rightly (N,).
        modality: that of the weights.
    """
    kinds = {}
    for part in subsets(tuple(right)).values():
        name = " and ".join(f"the {side}" for side in part) + (" alone" if len(part) == 1 else "")
        name = SIDES[len(part)] if len(part) == len(right) else name
        kinds[name] = np.logical_and.reduce(
            [correct if key in part else ~correct for key, correct in right.items()]
        )
    kinds["neither" if len(right) == 2 else "none"] = ~np.logical_or.reduce([*right.values()])
    rows: tuple[tuple[str | int, ...], ...] = tuple(
        (
            name,
            int(mask.sum()),
            *(f"{value:.3f}" for value in np.quantile(weights[mask], (0.25, 0.5, 0.75))),
        )
        for name, mask in kinds.items()
        if mask.any()
    )
    head = ("right is", "test pairs", "lower quartile", "median", "upper quartile")
    caption = f"Weight of the {modality} in the gate, by the side whose own model is right"
    return Table(caption, head, rows)


def trusted_pairs(
    weights: Mapping[str, np.ndarray],
    labels: np.ndarray,
    answers: dict[str, np.ndarray],
    texts: np.ndarray,
    ids: Sequence[str],
    class_names: Sequence[str],
) -> Table:
    """Returns test pairs about which the modalities disagree, where the gate is most for one of them.

    Args:
        weights: modality -> its weight in each pair's gate (N,), 0 to 1; the first one chooses.
        labels: (N,).
        answers: "image_only", "text_only" and so on, and "fused_gated" -> the class that it answers (N,).
        texts, ids: of the pairs (N,).
        class_names: the C names.
    """
    modalities = [name.removesuffix("_only") for name in answers if name.endswith("_only")]
    unimodal_answers = np.stack([answers[name] for name in alone_of(modalities)])
    disagreements = np.flatnonzero((unimodal_answers != unimodal_answers[0]).any(axis=0))
    order = disagreements[np.argsort(next(iter(weights.values()))[disagreements], kind="stable")]
    right = answers["fused_gated"][order] == labels[order]
    indices = [
        *order[right][::-1][:EXAMPLES],
        *order[right][:EXAMPLES],
        *order[~right][::-1][: EXAMPLES // 2],
        *order[~right][: EXAMPLES // 2],
    ]
    rows: tuple[tuple[str, ...], ...] = tuple(
        (
            ids[index],
            str(texts[index])[:80],
            class_names[labels[index]],
            *(class_names[answer[index]] for answer in answers.values()),
            *(f"{weight[index]:.3f}" for weight in weights.values()),
        )
        for index in dict.fromkeys(indices)
    )
    weight_head = (f"weight of the {name}" for name in weights)
    head = ("pair", "text", "class", *(f"answer of {name}" for name in answers), *weight_head)
    modalities_text = f"{', '.join(modalities[:-1])} and {modalities[-1]}"
    return Table(f"Whom the gate trusted where {modalities_text} disagree: the clearest pairs", head, rows)


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

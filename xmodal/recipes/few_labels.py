"""What a few labels are worth beside what words say: learning curves with intervals, a table and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal import report
from xmodal.bridge.adaptation import fit_probe, opinions, standardiser
from xmodal.evaluation.repeats import Mean, mean_of

HEAD = ("labels of each answer", "linear_probe", "probe_and_names", "what names add")


@dataclass(frozen=True)
class Shots:
    """What was measured with k labelled examples of each answer.

    Attributes:
        count: k.
        probe, probe_and_names: accuracies over the draws.
        gain: the difference.
    """

    count: int
    probe: Mean
    probe_and_names: Mean
    gain: Mean


def learning_curve(
    shots: Sequence[int],
    draws: int,
    seed: int,
    features: Mapping[str, np.ndarray],
    logits: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
) -> list[Shots]:
    """Compares probes of few labels with and without what words say, on the same draws.

    The weight between the two is chosen on the labels that were drawn, see `adaptation.fit_probe`.

    Args:
        shots: labelled examples of each answer; 0 is left out.
        draws: how many times they are drawn.
        seed: of the first draw.
        features: what the examples of "train" and "test" are like (N, D).
        logits: what words say of both without labels (N, C).
        labels: the right answers for both (N,).
    """
    standardise = standardiser(features["train"])
    x = {part: standardise(array) for part, array in features.items()}
    opinion = {part: opinions(array, logits["train"]) for part, array in logits.items()}

    def right(indices: np.ndarray, offsets: dict[str, tuple[float, ...]]) -> np.ndarray:
        probe = fit_probe(x["train"][indices], labels["train"][indices], opinion["train"][indices], **offsets)
        return probe.scores(x["test"], opinion["test"]).argmax(axis=1) == labels["test"]

    curve = []
    for count in filter(None, shots):
        samples = [_draw(labels["train"], count, seed + number) for number in range(draws)]
        without = np.stack([right(indices, {"offsets": (0.0,)}) for indices in samples]).astype(float)
        names = np.stack([right(indices, {}) for indices in samples]).astype(float)
        curve.append(Shots(count, mean_of(without), mean_of(names), mean_of(names - without)))
    return curve


def _draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the positions of `count` examples of each answer, or of all that there are."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate([order[labels[order] == label][:count] for label in np.unique(labels)])


def shots_table(curve: Sequence[Shots], without_labels: float) -> report.Table:
    """Tells what few labels are worth with what words say and without; `without_labels` is an accuracy."""
    rows: list[tuple[str | int, ...]] = [(0, "", f"{100 * without_labels:.1f}%", "")]
    rows += [
        (item.count, _percent(item.probe), _percent(item.probe_and_names), _points(item.gain))
        for item in curve
    ]
    return report.Table("Accuracy with few labels, over all draws", HEAD, tuple(rows))


def shots_plot(curve: Sequence[Shots], without_labels: float) -> report.Plot:
    """Draws the same."""
    x = tuple(float(item.count) for item in curve)
    lines = [
        _series("linear_probe", x, [item.probe for item in curve]),
        _series("probe_and_names", x, [item.probe_and_names for item in curve]),
        report.Series("no label", x, (100 * without_labels,) * len(x)),
    ]
    caption = "Accuracy with few labels, with 95% intervals"
    return report.Plot(caption, "labels of each answer", "accuracy in %", tuple(lines), log_x=True)


def _series(name: str, x: tuple[float, ...], means: Sequence[Mean]) -> report.Series:
    bounds = [tuple(100 * mean.ci95[bound] for mean in means) for bound in (0, 1)]
    return report.Series(name, x, tuple(100 * mean.value for mean in means), *bounds)


def _percent(mean: Mean) -> str:
    return f"{100 * mean.value:.1f}% ({100 * mean.ci95[0]:.1f} to {100 * mean.ci95[1]:.1f})"


def _points(mean: Mean) -> str:
    return f"{100 * mean.value:+z.1f} points ({100 * mean.ci95[0]:z.1f} to {100 * mean.ci95[1]:z.1f})"

"""What a run reports: everything else in this package turns these records into files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xmodal.evaluation.intervals import findings
from xmodal.evaluation.selection import gallery_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xmodal.data.audit import DataReport
    from xmodal.evaluation.intervals import Comparison
    from xmodal.evaluation.metrics import Result
    from xmodal.evaluation.part_curves import PartCurves
    from xmodal.evaluation.selection import Kind
    from xmodal.training.progress import History
    from xmodal.transfer.weights import TransferReport


@dataclass(frozen=True)
class GalleryItem:
    """One test picture and what was answered for it.

    Attributes:
        png: the picture, encoded; JPEG and whatever else `xmodal.data.images` reads will do.
        id: how the data set names it.
        truth, predicted: class names; a truth of "" is not known.
        probability: of the predicted class, 0 to 1.
        sentence: what the text model read.
        kind: "right", "wrong", "unsure" for a narrow choice of either sort, or "unknown" without a truth.
        original: the sound or video that the picture is of, encoded; empty for an image.
        sound: a WAV that belongs to the picture; empty for none.
    """

    png: bytes
    id: str
    truth: str
    predicted: str
    probability: float
    sentence: str
    kind: Kind
    original: bytes = b""
    sound: bytes = b""


def gallery_items(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    per_kind: int,
    seed: int,
    png: Callable[[int], bytes],
    id: Callable[[int], str],
    sentence: Callable[[int], str],
    original: Callable[[int], bytes] = lambda index: b"",
    sound: Callable[[int], bytes] = lambda index: b"",
) -> tuple[GalleryItem, ...]:
    """Picks examples to show by `gallery_indices`.

    Args:
        probabilities: (N, C).
        labels: (N,).
        class_names: the C names.
        per_kind: the most examples of a kind.
        seed: chooses among the right and the wrong ones.
        png, id, sentence, original, sound: the index of an example -> what `GalleryItem` has of it.
    """
    return tuple(
        GalleryItem(
            png=png(index),
            id=id(index),
            truth=class_names[labels[index]],
            predicted=class_names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=sentence(index),
            kind=kind,
            original=original(index),
            sound=sound(index),
        )
        for kind, indices in gallery_indices(probabilities, labels, per_kind, seed).items()
        for index in indices
    )


@dataclass(frozen=True)
class Explanation:
    """What one method says of the parts of an input.

    Attributes:
        method: its name.
        shares: how much of the probability each part carries, or any measure that is higher for more: the
            cells of a picture (n, n), or words (W,).
        curves: how well the order of the parts tells what counts.
        difference: what shares of words should add up to, where the method promises it; else None.
    """

    method: str
    shares: np.ndarray
    curves: PartCurves
    difference: float | None = None

    @property
    def line(self) -> str:
        """The method and what is measured of it, in words."""
        if self.difference is None:
            return f"{self.method}: {self.curves.line}"
        sum_text = f"the words sum to {100 * self.shares.sum():.1f} of {100 * self.difference:.1f} points"
        return f"{self.method}: {self.curves.line}; {sum_text}"


@dataclass(frozen=True)
class Explained:
    """What made an answer.

    Attributes:
        name: of what was answered.
        answer: the class.
        probability: of it, 0 to 1.
        picture: (H, W, 3) uint8, also of a sound; None for a text.
        maps: where in the picture.
        words: those that were read, or several of a long text as one.
        of_words: which of these.
        truth: what it is; "" where that is not known.
    """

    name: str
    answer: str
    probability: float
    picture: np.ndarray | None
    maps: tuple[Explanation, ...]
    words: tuple[str, ...]
    of_words: tuple[Explanation, ...]
    truth: str = ""

    @property
    def title(self) -> str:
        """The answer, and what it is where that is something else."""
        correction = f" (it is {self.truth})" if self.truth not in ("", self.answer) else ""
        return f"{self.name}: {self.probability:.0%} {self.answer}{correction}"


@dataclass(frozen=True)
class Table:
    """Anything else that has rows.

    Attributes:
        caption: what it shows, a sentence without its full stop.
        head: a name for each column; the first column names the rows.
        rows: a cell for each column: text, or a number that is shown with four significant digits.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"rows must have {len(self.head)} cells, one for a column. Received: {row}")


@dataclass(frozen=True)
class Series:
    """One line of a plot.

    Attributes:
        name: what the legend says.
        x, y: its points.
        low, high: ends of an interval about each y, None for none.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def __post_init__(self):
        for part in (self.y, self.low, self.high):
            if part is not None and len(part) != len(self.x):
                raise ValueError(f"series {self.name!r} must have {len(self.x)} of each. Received: {part}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"series {self.name!r} must have both ends of its intervals, or none")


@dataclass(frozen=True)
class Plot:
    """Lines over an axis.

    Attributes:
        caption: what it shows, a sentence without its full stop.
        x, y: names of the axes, with their units.
        series: the lines.
        log_x, log_y: the axis is logarithmic.
    """

    caption: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Points:
    """Points of one vector space, for TensorBoard's Projector.

    Attributes:
        vectors: float32 (N, D).
        labels: (N,) names of classes.
        words: (N,) the text that each point stands for, or that its picture was put into.
        pictures: (N,) encoded; empty for a point that is a text.
    """

    vectors: np.ndarray
    labels: tuple[str, ...]
    words: tuple[str, ...]
    pictures: tuple[bytes, ...]

    def __post_init__(self):
        for part in (self.labels, self.words, self.pictures):
            if len(part) != len(self.vectors):
                raise ValueError(f"points must have {len(self.vectors)} of each. Received: {len(part)}")


@dataclass(frozen=True)
class Run:
    """Everything that a finished run has to tell.

    Attributes:
        experiment: name of the experiment, such as "vgg_to_bert".
        title: the same for people.
        seed: the seed of all that is random.
        flags: the text of config.cfg.
        command: the command line that replays the run.
        data: what was read, and what is doubtful about it.
        results: name -> result, in the order of showing; none without labels to measure with.
        gains: comparisons of results, the one that answers the run's question first.
        seconds: stage -> wall seconds.
        transfer: the account of the weight transfer, None for a run without one.
        histories: one for each training.
        gallery: pictures to look at.
        facts: anything else worth a line, such as temperatures and weights.
        headline: name of the result that opens the report; the first one by default.
        tables, plots: what else there is to show, below the results.
        further_data: title -> what was read, of a run on several data sets.
        points: images and texts in one space, None for a run that has none.
        noun: what is answered: "image", "sound" or "video".
        explained: what made the answers for some test examples.
    """

    experiment: str
    title: str
    seed: int
    flags: str
    command: str
    data: DataReport
    results: dict[str, Result]
    gains: tuple[Comparison, ...]
    seconds: dict[str, float]
    transfer: TransferReport | None
    histories: tuple[History, ...]
    gallery: tuple[GalleryItem, ...]
    facts: dict[str, float | int | str]
    headline: str | None = None
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    further_data: dict[str, DataReport] = field(default_factory=dict)
    points: Points | None = None
    noun: str = "image"
    explained: tuple[Explained, ...] = ()

    def __post_init__(self):
        if self.headline is not None and self.headline not in self.results:
            raise ValueError(f"headline must be one of {list(self.results)}. Received: {self.headline!r}")

    @property
    def findings(self) -> tuple[str, ...]:
        """The sentences of `gains`, and of many what chance has to do with them."""
        return findings([gain.sentence for gain in self.gains])

    @property
    def main_result(self) -> Result | None:
        """The result that `headline` names; None where nothing could be measured."""
        return self.results[self.headline or next(iter(self.results))] if self.results else None


@dataclass(frozen=True)
class Ingredient:
    """Something that a run starts from.

    Attributes:
        flag: the flag that names it.
        value: its name.
        licence: of a named asset; empty for what is the user's own, or comes from elsewhere.
    """

    flag: str
    value: str
    licence: str

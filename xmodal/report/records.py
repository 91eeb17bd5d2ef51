"""What a run reports: everything else in this package turns these records into files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmodal.data.audit import DataReport
    from xmodal.evaluate import Gain, Kind, Result
    from xmodal.train import History
    from xmodal.transfer import TransferReport


@dataclass(frozen=True)
class GalleryItem:
    """One test picture and what was answered for it.

    Attributes:
        png: the picture, encoded; JPEG and whatever else `xmodal.data.images` reads will do.
        id: how the data set names it.
        truth, predicted: class names.
        probability: of the predicted class, 0 to 1.
        sentence: what the text model read.
        kind: "right", "wrong", or "unsure" for a narrow choice of either sort.
    """

    png: bytes
    id: str
    truth: str
    predicted: str
    probability: float
    sentence: str
    kind: Kind


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
        results: name -> result, in the order of showing.
        gains: comparisons of results, the one that answers the run's question first.
        seconds: stage -> wall seconds.
        transfer: the account of the weight transfer, None for a run without one.
        histories: one for each training.
        gallery: pictures to look at.
        facts: anything else worth a line, such as temperatures and weights.
        headline: name of the result that opens the report; the first one by default.
    """

    experiment: str
    title: str
    seed: int
    flags: str
    command: str
    data: DataReport
    results: dict[str, Result]
    gains: tuple[Gain, ...]
    seconds: dict[str, float]
    transfer: TransferReport | None
    histories: tuple[History, ...]
    gallery: tuple[GalleryItem, ...]
    facts: dict[str, float | int | str]
    headline: str | None = None

    def __post_init__(self):
        if not self.results:
            raise ValueError("results must hold at least one result. Received: none")
        if self.headline is not None and self.headline not in self.results:
            raise ValueError(f"headline must be one of {list(self.results)}. Received: {self.headline!r}")

    @property
    def main_result(self) -> Result:
        """The result that `headline` names."""
        return self.results[self.headline or next(iter(self.results))]

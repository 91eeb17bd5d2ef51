"""What was found and drawn by words, told by kinds of wordings."""

from dataclasses import dataclass

import numpy as np

from xmodal import report
from xmodal.captions import Captions
from xmodal.evaluate import Result, wilson_interval
from xmodal.retrieval import TOP, rank

# What the results of both directions are called in their table.
WAYS = {
    "image_to_text": "image -> text -> label",
    "image_by_text": "image -> label, by the nearest wordings",
    "text_to_image": "text -> image -> label, learned wordings",
    "text_to_image_unseen": "text -> image -> label, unseen wordings",
    "judge": "image -> label, by the judge of the two before",
}


@dataclass(frozen=True)
class Told:
    """Captions, BERT's vectors of them (M, D) and their places in the shared space (M, E)."""

    captions: Captions
    vectors: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """Pictures that were drawn.

    Attributes:
        pictures: (N, H, W, 3) uint8.
        captions: M texts.
        order: the place among them of what each picture was drawn from (N,).
    """

    pictures: np.ndarray
    captions: Captions
    order: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The class that each picture was asked to be of (N,)."""
        return self.captions.labels[self.order]


def directions_table(results: dict[str, Result]) -> report.Table:
    """Compares the ways from a label over the other modality and back, by their results.

    Args:
        results: by the names in `WAYS`.
    """
    rows = [
        (way, _share(results[name].accuracy, results[name].ci95), results[name].n)
        for name, way in WAYS.items()
    ]
    return report.Table(
        "Both directions, by how often the label at the end is that of the start",
        ("way", "accuracy", "examples"),
        tuple(rows),
    )


def retrieval_table(images: np.ndarray, labels: np.ndarray, told: dict[str, Told]) -> report.Table:
    """Ranks images for wordings, and wordings for images.

    Args:
        images: their places in the shared space (N, E).
        labels: their classes (N,).
        told: by kind of wordings.
    """
    rows: list[tuple[str | int | float, ...]] = []
    for name, part in told.items():
        scores = part.places @ images.T
        relevant = part.captions.labels[:, None] == labels[None, :]
        # A class may have no test image.
        asked = relevant.any(axis=1)
        for way, ranking in (
            (f"{name} wordings -> images", rank(scores[asked], relevant[asked])),
            (f"images -> {name} wordings", rank(scores.T, relevant.T)),
        ):
            recall = (f"{ranking.recall[k]:.1%}" for k in TOP)
            rows.append(
                (way, ranking.queries, *recall, ranking.median_rank, f"{ranking.mean_average_precision:.1%}")
            )
    head = ("queries -> candidates", "queries", *(f"recall@{k}" for k in TOP), "median rank", "mAP")
    caption = "Retrieval in the shared space, among the test images and the wordings"
    return report.Table(caption, head, tuple(rows))


def wordings_table(pictures: Drawn, probabilities: np.ndarray) -> report.Table:
    """Says of each wording how often the judge sees what was asked for.

    Args:
        pictures: N of them, drawn from unseen wordings.
        probabilities: what the judge sees (N, C).
    """
    right = probabilities.argmax(axis=1) == pictures.labels
    wordings = pictures.captions.wordings[pictures.order]
    rows = []
    for wording in dict.fromkeys(pictures.captions.wordings):
        of = wordings == wording
        if of.any():
            example = pictures.captions.texts[pictures.order[of][0]]
            share = _share(float(right[of].mean()), wilson_interval(int(right[of].sum()), int(of.sum())))
            rows.append((wording, example, int(of.sum()), share))
    head = ("wording", "such as", "pictures", "agreement")
    return report.Table("What the judge sees in pictures drawn from unseen wordings", head, tuple(rows))


def _share(share: float, ci95: tuple[float, float]) -> str:
    return f"{share:.1%} ({ci95[0]:.1%} to {ci95[1]:.1%})"

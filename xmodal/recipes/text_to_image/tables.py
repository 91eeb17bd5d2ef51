"""What is reported of `text_to_image`."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal import report
from xmodal.bridge.captions import Captions
from xmodal.config.config import Config
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageData
from xmodal.evaluation.frechet import frechet_distance
from xmodal.evaluation.intervals import wilson_interval
from xmodal.evaluation.metrics import Result
from xmodal.evaluation.ranking import TOP, rank
from xmodal.evaluation.selection import gallery_indices
from xmodal.export.picture_index import search_milliseconds
from xmodal.runs.session import Job
from xmodal.training.prediction import predict

# What the results of both directions are called in their table.
WAYS = {
    "image_to_text": "image -> text -> label",
    "image_by_text": "image -> label, by the nearest wordings",
    "text_to_image": "text -> image -> label, learned wordings",
    "text_to_image_unseen": "text -> image -> label, unseen wordings",
    "judge": "image -> label, by the judge of the two before",
}
GALLERY_EACH = 12
# What a search is timed on.
TIMED_PICTURES = 50_000


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


def distance_table(
    job: Job, trunk: keras.Model, test: np.ndarray, pictures: dict[str, Drawn]
) -> report.Table:
    """Compares sets of equal size: the distance falls with it."""
    size = min(len(test) // 2, *(len(part.pictures) for part in pictures.values()))
    order = np.random.default_rng(job.config.run.seed).permutation(len(test))
    real, other = test[order[:size]], test[order[size : 2 * size]]
    rows: list[tuple[str, float]] = [("other real test images", frechet_distance(real, other))]
    for name, part in pictures.items():
        batches = array_batches(part.pictures[:size].astype(np.float32), batch_size=256)
        drawn_features = predict(trunk, batches, job.strategy)
        rows.append((f"drawn from {name} wordings", frechet_distance(real, drawn_features)))
    noise = np.random.default_rng(0).uniform(0, 255, (size, *part.pictures.shape[1:])).astype(np.float32)
    rows.append(
        (
            "noise",
            frechet_distance(real, predict(trunk, array_batches(noise, batch_size=256), job.strategy)),
        )
    )
    caption = f"Frechet distance from {size:,} real test images to as many others, on features of the trunk"
    return report.Table(caption, ("pictures", "distance"), tuple(rows))


def gallery_items(config: Config, pictures: Drawn, probabilities: np.ndarray, data: ImageData):
    """Picks drawn pictures to show, with what they were drawn from."""
    labels = pictures.labels
    picked = gallery_indices(probabilities, labels, GALLERY_EACH, config.run.seed)
    return tuple(
        report.GalleryItem(
            png=tf.io.encode_png(pictures.pictures[index]).numpy(),
            id=f"drawn/{index}",
            truth=data.class_names[labels[index]],
            predicted=data.class_names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=str(pictures.captions.texts[pictures.order[index]]),
            kind=kind,
        )
        for kind, indices in picked.items()
        for index in indices
    )


def facts_of(space, told: dict[str, Told], generator, queries: np.ndarray) -> dict[str, float | int | str]:
    """Returns single figures of the run."""
    facts: dict[str, float | int | str] = {
        "scale learned by the shared space": space.scale,
        "learned captions": len(told["learned"].captions),
        "unseen captions": len(told["unseen"].captions),
        f"milliseconds to search {TIMED_PICTURES:,} pictures": search_milliseconds(
            queries[:1], TIMED_PICTURES
        ),
    }
    if generator is not None:
        facts["parameters of the generator"] = generator.count_params()
    return facts

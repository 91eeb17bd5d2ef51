"""What is reported of `text_to_image`."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal import report
from xmodal.bridge.captions import Captions
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageData
from xmodal.evaluation.frechet import frechet_distance
from xmodal.evaluation.intervals import wilson_interval
from xmodal.evaluation.metrics import Result
from xmodal.evaluation.ranking import TOP, rank
from xmodal.export.picture_index import search_milliseconds
from xmodal.runs.session import Session
from xmodal.tasks.shared_space import SharedSpace

# What the results of both directions are called in their table.
WAYS = {
    "image_to_text": "image -> text -> label",
    "image_by_text": "image -> label, by the nearest wordings",
    "text_to_image": "text -> image -> label, learned wordings",
    "text_to_image_unseen": "text -> image -> label, unseen wordings",
    "judge": "image -> label, by the judge of the two before",
}
GALLERY_EACH = 12
TITLE = "Text to image: found and drawn"
# What a search is timed on.
TIMED_PICTURES = 50_000


@dataclass(frozen=True)
class EmbeddedCaptions:
    """Captions, BERT's vectors of them (M, D) and their embeddings in the shared space (M, E)."""

    captions: Captions
    vectors: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True)
class GeneratedImages:
    """Pictures that were drawn.

    Attributes:
        pictures: (N, H, W, 3) uint8.
        captions: M texts.
        order: the index among them of what each picture was drawn from (N,).
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


def retrieval_table(
    images: np.ndarray, labels: np.ndarray, embedded: dict[str, EmbeddedCaptions]
) -> report.Table:
    """Ranks images for wordings, and wordings for images.

    Args:
        images: their embeddings in the shared space (N, E).
        labels: their classes (N,).
        embedded: by kind of wordings.
    """
    rows: list[tuple[str | int | float, ...]] = []
    for name, part in embedded.items():
        scores = part.embeddings @ images.T
        relevant = part.captions.labels[:, None] == labels[None, :]
        # A class may have no test image.
        answerable = relevant.any(axis=1)
        for way, ranking in (
            (f"{name} wordings -> images", rank(scores[answerable], relevant[answerable])),
            (f"images -> {name} wordings", rank(scores.T, relevant.T)),
        ):
            recall = (f"{ranking.recall[k]:.1%}" for k in TOP)
            rows.append(
                (way, ranking.queries, *recall, ranking.median_rank, f"{ranking.mean_average_precision:.1%}")
            )
    head = ("queries -> candidates", "queries", *(f"recall@{k}" for k in TOP), "median rank", "mAP")
    caption = "Retrieval in the shared space, among the test images and the wordings"
    return report.Table(caption, head, tuple(rows))


def templates_table(pictures: GeneratedImages, probabilities: np.ndarray) -> report.Table:
    """Says of each wording how often the judge sees what was asked for.

    Args:
        pictures: N of them, drawn from unseen wordings.
        probabilities: what the judge sees (N, C).
    """
    right = probabilities.argmax(axis=1) == pictures.labels
    templates = pictures.captions.templates[pictures.order]
    rows = []
    for template in dict.fromkeys(pictures.captions.templates):
        mask = templates == template
        if mask.any():
            example = pictures.captions.texts[pictures.order[mask][0]]
            share = _share(
                float(right[mask].mean()), wilson_interval(int(right[mask].sum()), int(mask.sum()))
            )
            rows.append((template, example, int(mask.sum()), share))
    head = ("wording", "such as", "pictures", "agreement")
    return report.Table("What the judge sees in pictures drawn from unseen wordings", head, tuple(rows))


def _share(share: float, ci95: tuple[float, float]) -> str:
    return f"{share:.1%} ({ci95[0]:.1%} to {ci95[1]:.1%})"


def distance_table(
    session: Session, backbone: keras.Model, test: np.ndarray, pictures: dict[str, GeneratedImages]
) -> report.Table:
    """Compares sets of equal size: the distance falls with it."""
    size = min(len(test) // 2, *(len(part.pictures) for part in pictures.values()))
    order = np.random.default_rng(session.config.run.seed).permutation(len(test))
    real, other = test[order[:size]], test[order[size : 2 * size]]
    rows: list[tuple[str, float]] = [("other real test images", frechet_distance(real, other))]
    for name, part in pictures.items():
        batches = array_batches(part.pictures[:size].astype(np.float32), batch_size=256)
        drawn_features = session.trainer.predict(backbone, batches)
        rows.append((f"drawn from {name} wordings", frechet_distance(real, drawn_features)))
    noise = np.random.default_rng(0).uniform(0, 255, (size, *part.pictures.shape[1:])).astype(np.float32)
    rows.append(
        (
            "noise",
            frechet_distance(real, session.trainer.predict(backbone, array_batches(noise, batch_size=256))),
        )
    )
    caption = f"Frechet distance from {size:,} real test images to as many others, on features of the trunk"
    return report.Table(caption, ("pictures", "distance"), tuple(rows))


def build_report(
    session: Session,
    data: ImageData,
    space: SharedSpace,
    embedded: dict[str, EmbeddedCaptions],
    images: np.ndarray,
    pictures: dict[str, GeneratedImages],
    probabilities: dict[str, np.ndarray],
    results: dict[str, Result],
) -> report.Run:
    """Puts what was measured into the records of a report."""
    generated, answers = pictures["unseen"], probabilities["text_to_image_unseen"]
    return report.Run(
        **session.metadata(),
        title=TITLE,
        data=data.report,
        results=results,
        gains=(),
        transfer=None,
        histories=(),
        gallery=report.gallery_items(
            answers,
            generated.labels,
            data.class_names,
            per_kind=GALLERY_EACH,
            seed=session.config.run.seed,
            png=lambda index: tf.io.encode_png(generated.pictures[index]).numpy(),
            id=lambda index: f"drawn/{index}",
            sentence=lambda index: str(generated.captions.texts[generated.order[index]]),
        ),
        facts=facts_of(space, embedded, images),
        headline="text_to_image_unseen",
        tables=(
            directions_table(results),
            retrieval_table(images, data.test.labels, embedded),
            templates_table(generated, answers),
        ),
    )


def facts_of(
    space: SharedSpace, embedded: dict[str, EmbeddedCaptions], queries: np.ndarray
) -> dict[str, float | int | str]:
    """Returns single figures of the run."""
    return {
        "scale learned by the shared space": space.scale,
        "learned captions": len(embedded["learned"].captions),
        "unseen captions": len(embedded["unseen"].captions),
        f"milliseconds to search {TIMED_PICTURES:,} pictures": search_milliseconds(
            queries[:1], TIMED_PICTURES
        ),
    }


def facts_of_generator(generator: keras.Model | None) -> dict[str, float | int | str]:
    """Returns the size of a generator that was trained."""
    return {} if generator is None else {"parameters of the generator": generator.count_params()}

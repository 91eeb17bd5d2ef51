"""What is reported of `names_to_answers`."""

from collections.abc import Sequence

import numpy as np

from xmodal import report
from xmodal.bridge.name_answers import spoken_names
from xmodal.data.images import ImageSplit
from xmodal.evaluation.selection import Kind, gallery_indices

GALLERY_EACH = 12
NAMES_EACH = 6
MAX_ROWS = 40
NOTES = {
    "name_mixture": "the speaker's names weighted by their probabilities, and what they mean by their words",
    "name_mixture_plain": "the same without WordNet's words for the names",
    "top1_sentence": "a sentence of the most probable name, and the answer nearest to it",
    "hedged_sentence": "a sentence of the two most probable names, with words of doubt, and what is near it",
    "written_head": "BERT with a head that learned from the names alone which answers they mean",
    "projected": "features mapped into BERT's space so that the names give the speaker's own answers back",
    "concepts": "a linear head on scores of concepts, that labels taught or that was edited",
    "prior": "name_mixture, with the frequencies of answers found by EM on the images",
    "self_train": "features of images without labels, taught what name_mixture said of them and then itself",
    "noisy_student": "a second network that learned what self_train said of images, and self_train",
}


def answer_table(
    names: Sequence[str], answers: np.ndarray, weights: np.ndarray, logits: np.ndarray, words: Sequence[str]
) -> report.Table:
    """Tells how often each answer was given, and which of the speaker's names spoke for it.

    Args:
        names: the C answers.
        answers: what was answered for each image (B,).
        weights: how much of an answer each of the speaker's names is (N, C).
        logits: of the speaker's names (B, N).
        words: the N names.
    """
    names_by_answer = spoken_names(logits, weights, answers, NAMES_EACH)
    counts = np.bincount(answers, minlength=len(names))
    rows = [
        (names[index], int(counts[index]), ", ".join(words[name] for name in names_by_answer[index]))
        for index in np.argsort(-counts, kind="stable")[:MAX_ROWS]
    ]
    return report.Table(
        "The answers, and the names that spoke for them", ("answer", "images", "names"), tuple(rows)
    )


def gallery(
    split: ImageSplit,
    probabilities: np.ndarray,
    labels: np.ndarray | None,
    sentences: Sequence[str],
    names: Sequence[str],
    seed: int,
) -> tuple[report.GalleryItem, ...]:
    """Picks images to show, with their answers and what the speaker sees."""
    indices_by_kind: dict[Kind, np.ndarray] = {"unknown": split.spread(2 * GALLERY_EACH)}
    if labels is not None:
        indices_by_kind = gallery_indices(probabilities, labels, GALLERY_EACH, seed)
    return tuple(
        report.GalleryItem(
            png=split.encoded(index),
            id=split.ids[index],
            truth="" if labels is None else names[labels[index]],
            predicted=names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=sentences[index],
            kind=kind,
        )
        for kind, indices in indices_by_kind.items()
        for index in indices
    )

"""What is reported of `bert_news`."""

from dataclasses import dataclass

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.cleaned_documents import Prepared
from xmodal.data.documents import DocumentData
from xmodal.evaluation.intervals import Gain, paired_gain
from xmodal.evaluation.metrics import Result
from xmodal.evaluation.selection import hardest
from xmodal.training.baselines import NO_TRANSFER

HARDEST = 20
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Measured:
    """A result, the calibrated probabilities (N, C) of the test documents, and their temperature."""

    result: Result
    probabilities: np.ndarray
    temperature: float


def gains(measured: dict[str, Measured], data: DocumentData) -> tuple[Gain, ...]:
    """Compares BERT with what has no transfer, with TF-IDF, and with the robust one."""
    right = {name: item.probabilities.argmax(axis=1) == data.test.labels for name, item in measured.items()}
    compared = (
        ("bert", NO_TRANSFER, "transfer of weights"),
        ("bert", "tf_idf", "BERT, against TF-IDF,"),
        ("bert_robust", "bert", "bert_robust in the place of bert,"),
    )
    return tuple(
        paired_gain(right[a], right[b], what=what, unit="documents")
        for a, b, what in compared
        if a in right and b in right
    )


def mean_elsewhere(elsewhere: dict[str, Result]) -> dict[str, float | int | str]:
    """Returns the mean accuracy over other test sets as a fact, none when there are none."""
    if not elsewhere:
        return {}
    mean = float(np.mean([result.accuracy for result in elsewhere.values()]))
    return {f"mean accuracy of BERT on {len(elsewhere)} other test sets": mean}


def class_reports(measured: dict[str, Measured]) -> tuple[report.Table, ...]:
    """Returns a table for each result: precision, recall and F1 of every class."""
    tables = []
    for name, item in measured.items():
        confusion = np.array(item.result.confusion)
        right, truths, answers = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        rows = tuple(
            (
                class_name,
                int(truths[place]),
                float(right[place] / max(1, answers[place])),
                float(right[place] / max(1, truths[place])),
                float(2 * right[place] / max(1, answers[place] + truths[place])),
            )
            for place, class_name in enumerate(item.result.class_names)
        )
        head = ("class", "test documents", "precision", "recall", "F1")
        caption = f"The classes, {name} (macro F1 {item.result.macro_f1:.4f})"
        tables.append(report.Table(caption, head, rows))
    return tuple(tables)


def hardest_documents(probabilities: np.ndarray, data: DocumentData) -> report.Table:
    """Returns a table of the test documents whose class got the least probability, as BERT read them."""
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            data.test.ids[place],
            data.class_names[data.test.labels[place]],
            data.class_names[probabilities[place].argmax()],
            float(probabilities[place, data.test.labels[place]]),
            str(data.test.texts[place])[:SHOWN_CHARACTERS],
        )
        for place in hardest(probabilities, data.test.labels, HARDEST).tolist()
    )
    head = ("document", "class", "answer of bert", "probability of the class", "begins")
    return report.Table("The hardest test documents", head, rows)


def personal_data(config: Config, prepared: Prepared) -> tuple[report.Table, ...]:
    """Returns a table of what was replaced in each split, empty when nothing was to be."""
    if not config.documents.scrub:
        return ()
    splits = ("train", "validation", "test")
    rows: list[tuple[str | int, ...]] = [
        (mark, *(count[split] for split in splits)) for mark, count in prepared.counts.items()
    ]
    return (report.Table("Personal data that marks stand for", ("mark", *splits), tuple(rows)),)

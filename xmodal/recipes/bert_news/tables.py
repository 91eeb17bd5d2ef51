"""What is reported of `bert_news`."""

from dataclasses import dataclass, field

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.audit import DataReport
from xmodal.data.cleaned_documents import Prepared
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.evaluation.metrics import Result
from xmodal.evaluation.selection import hardest
from xmodal.robustness.attacked import training_cost
from xmodal.runs.session import Session
from xmodal.training.baselines import NO_TRANSFER
from xmodal.training.progress import History

HARDEST = 20
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Baselines:
    """What BERT from random weights adds to a run; nothing where nothing was transferred.

    Attributes:
        measured: by name.
        histories: of its trainings with all documents.
        facts, tables, plots: as in `report.Run`.
    """

    measured: dict[str, CalibratedResult] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    facts: dict[str, float | int | str] = field(default_factory=dict)
    tables: tuple[report.Table, ...] = ()
    plots: tuple[report.Plot, ...] = ()


def build_report(
    session: Session,
    prepared: Prepared,
    further_data: dict[str, DataReport],
    berts: dict[str, CalibratedResult],
    without: Baselines,
    tf_idf: CalibratedResult,
    elsewhere: dict[str, Result],
    tables: tuple[report.Table, ...],
) -> report.Run:
    """Puts what was measured into the records of a report; of the BERTs the last one is exported."""
    data, exported_name = prepared.data, [*berts][-1]
    results = berts | without.measured | {"tf_idf": tf_idf}
    cost = training_cost(exported_name, "bert", session.result_seconds) if exported_name != "bert" else {}
    return report.Run(
        **session.metadata(),
        title="Documents to BERT",
        data=data.report,
        results={name: item.result for name, item in results.items()} | elsewhere,
        gains=gains(results),
        transfer=None,
        histories=(),
        gallery=(),
        facts=mean_elsewhere(elsewhere)
        | {"temperature of BERT": berts[exported_name].temperature}
        | cost
        | without.facts,
        further_data=further_data,
        tables=(
            *without.tables,
            *tables,
            *personal_data(session.config, prepared),
        ),
        plots=without.plots,
        headline=exported_name,
    )


def gains(measured: dict[str, CalibratedResult]) -> tuple[Comparison, ...]:
    """Compares BERT with what has no transfer, with TF-IDF, and with the robust one."""
    right = {name: item.correct for name, item in measured.items()}
    pairs = (
        ("bert", NO_TRANSFER, "transfer of weights"),
        ("bert", "tf_idf", "BERT, against TF-IDF,"),
        ("bert_robust", "bert", "bert_robust in the place of bert,"),
    )
    return tuple(
        compare_paired(right[a], right[b], what=what, unit="documents")
        for a, b, what in pairs
        if a in right and b in right
    )


def mean_elsewhere(elsewhere: dict[str, Result]) -> dict[str, float | int | str]:
    """Returns the mean accuracy over other test sets as a fact, none when there are none."""
    if not elsewhere:
        return {}
    mean = float(np.mean([result.accuracy for result in elsewhere.values()]))
    return {f"mean accuracy of BERT on {len(elsewhere)} other test sets": mean}


def answer_tables(
    berts: dict[str, CalibratedResult],
    tf_idf: CalibratedResult,
    attack_tables: tuple[report.Table, ...],
    data: DocumentData,
) -> tuple[report.Table, ...]:
    """Returns the tables of answers: of each class, of attacks, and the hardest of the exported BERT's."""
    return (
        *class_reports(berts | {"tf_idf": tf_idf}),
        *attack_tables,
        hardest_documents([*berts.values()][-1].probabilities, data),
    )


def class_reports(measured: dict[str, CalibratedResult]) -> tuple[report.Table, ...]:
    """Returns a table for each result: precision, recall and F1 of every class."""
    tables = []
    for name, item in measured.items():
        confusion = np.array(item.result.confusion)
        right, truths, answers = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        rows = tuple(
            (
                class_name,
                int(truths[index]),
                float(right[index] / max(1, answers[index])),
                float(right[index] / max(1, truths[index])),
                float(2 * right[index] / max(1, answers[index] + truths[index])),
            )
            for index, class_name in enumerate(item.result.class_names)
        )
        head = ("class", "test documents", "precision", "recall", "F1")
        caption = f"The classes, {name} (macro F1 {item.result.macro_f1:.4f})"
        tables.append(report.Table(caption, head, rows))
    return tuple(tables)


def hardest_documents(probabilities: np.ndarray, data: DocumentData) -> report.Table:
    """Returns a table of the test documents whose class got the least probability, as BERT read them."""
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            data.test.ids[index],
            data.class_names[data.test.labels[index]],
            data.class_names[probabilities[index].argmax()],
            float(probabilities[index, data.test.labels[index]]),
            str(data.test.texts[index])[:SHOWN_CHARACTERS],
        )
        for index in hardest(probabilities, data.test.labels, HARDEST).tolist()
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

"""How `bert_news` ends where a document may have several labels, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from xmodal import report
from xmodal.data.cleaned_documents import Prepared
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.recipes.bert_news.baselines import DocumentTrainings
from xmodal.recipes.bert_news.exports import export_bert
from xmodal.recipes.bert_news.tables import Baselines, build_report
from xmodal.recipes.label_tables import label_tables
from xmodal.runs.session import finish
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.progress import History

LEFT_OUT = (
    "with --multi_label there are no sets of answers, amounts a class, attacks, other test sets, "
    "few labels or small forms"
)


def finish_with_several_labels(
    trainings: DocumentTrainings,
    berts: Mapping[str, TextClassifier],
    measured: dict[str, CalibratedResult],
    without: Baselines,
    tf_idf: CalibratedResult,
    histories: Sequence[History],
    prepared: Prepared,
    original: DocumentData,
    read: dict[str, float | int | str],
) -> report.Run:
    """Reports what labels were given, and exports the model.

    Args:
        trainings: what trainings share.
        berts: the classifiers by name, of which the last one is exported.
        measured: what they answer.
        without: what answers without transfer.
        tf_idf: what the baseline answers.
        histories: of all trainings.
        prepared: the documents, cleaned.
        original: as they came.
        read: facts about how they are read.
    """
    session, exported_name = trainings.session, [*berts][-1]
    session.clock.log(LEFT_OUT)
    results = measured | without.measured | {"tf_idf": tf_idf}
    facts, tables = label_tables(results, exported_name, trainings.data, session.config.run.seed)
    run = build_report(session, prepared, {}, measured, without, tf_idf, {}, tables)
    run = replace(run, facts=facts | run.facts | read, histories=tuple(histories))
    bert, result = berts[exported_name], measured[exported_name]
    return finish(session, run, lambda: export_bert(session, bert, result, original, None))

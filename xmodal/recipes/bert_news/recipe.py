"""Documents -> clean text without personal data -> BERT -> a class, against TF-IDF on the same text.

From a folder of .txt files to a model that takes them as they are written, and what the transfer of BERT's
weights is worth: the same BERT from random weights, with all documents and with fewer.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.cleaned_documents import prepare_documents
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibrated_result import CalibratedResult, calibrated_result
from xmodal.evaluation.intervals import Comparison
from xmodal.evaluation.metrics import HeldOut, Result
from xmodal.export.portable import require_onnx
from xmodal.export.predictor import Item
from xmodal.models.text_encoder import is_new, text_encoder
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.bert_news.baselines import (
    DocumentTrainings,
    protocol_name,
    train_from_scratch,
    worth_of,
)
from xmodal.recipes.bert_news.exports import export_bert, small_forms
from xmodal.recipes.bert_news.few_labels import require_known_names, with_few_labels
from xmodal.recipes.bert_news.limits import document_limits
from xmodal.recipes.bert_news.search import adapt_trainings
from xmodal.recipes.bert_news.several_labels import finish_with_several_labels
from xmodal.recipes.bert_news.tables import (
    Baselines,
    answer_tables,
    build_report,
)
from xmodal.recipes.explaining import with_explained
from xmodal.recipes.text_reading import check_encoder, report_reading
from xmodal.recipes.transfer_worth import Worth, tried_table, worth_plot, worth_table
from xmodal.robustness.attacked import (
    adversarial_table,
    attack_all,
    attack_comparisons,
    attack_table,
    attacked_examples,
)
from xmodal.robustness.text_attack import attack_documents, known_words
from xmodal.runs.inputs import load_configured_documents, other_test_documents
from xmodal.runs.session import Session, begin, finish, hand_over
from xmodal.tasks.labelling import ONE_LABEL, SEVERAL_LABELS
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.tasks.tfidf_classifier import Baseline, train_baseline
from xmodal.text.cleaning import prepare_texts
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_FROZEN,
    RANDOM_WEIGHTS,
    better_note,
    scratch_note,
)

NOTES = {
    "bert": "BERT and a head, trained on the documents",
    "bert_robust": "the same, trained on documents with typing noise too",
    RANDOM_FROZEN: "the protocol of bert with random weights: a head on a frozen network",
    RANDOM_WEIGHTS: "the protocol of bert with random weights: the same layers, rates and epochs",
    "tf_idf": "logistic regression on TF-IDF of the same documents",
}


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_onnx(config.run)
    session = begin(config, clock)
    with clock.stage("data"):
        original = load_configured_documents(config, config.documents.multi_label)
        others = other_test_documents(
            original, config.documents, cache=cache_folder(), offline=config.run.offline
        )
        preset = session.text_encoder()
    session.check_data(original.report)
    for name, other in others.items():
        session.check_data(other.report, name)
    with clock.stage("cleaning"):
        prepared = prepare_documents(original, scrub=config.documents.scrub)
        data: DocumentData = prepared.data
    labelling = SEVERAL_LABELS if config.documents.multi_label else ONE_LABEL
    trainings = adapt_trainings(DocumentTrainings(session, preset, data, labelling))
    session = trainings.session
    with clock.stage("encoder"):
        encoder = check_encoder(session, preset)
        require_known_names(session, encoder, original.class_names)
        reading = report_reading(session, encoder, data.test.texts)
    berts, results = train_berts(trainings)
    exported_name, bert = [*berts.items()][-1]  # which is asked elsewhere, and exported
    other_results = {}
    if others:
        with clock.stage("bert: reading other test sets"):
            logits = results[exported_name].logits.validation
            other_results = evaluate_elsewhere(session, bert, logits, data.validation.labels, others)
    baseline, tf_idf = train_tf_idf(trainings)
    without = without_transfer(trainings, berts["bert"], results["bert"])
    bert_histories = [item.history for item in berts.values() if item.history]
    histories = (*bert_histories, *without.histories, baseline.history)
    if labelling is SEVERAL_LABELS:
        return finish_with_several_labels(
            trainings, berts, results, without, tf_idf, histories, prepared, original, reading
        )
    attack_comparisons, attack_tables = attack(session, berts, data)
    reports = {name: other.report for name, other in others.items()}
    tables = answer_tables(results, tf_idf, attack_tables, data)
    run = build_report(session, prepared, reports, results, without, tf_idf, other_results, tables)
    limits = document_limits(session, bert, data, results[exported_name], tf_idf)
    run = replace(limits.added_to(run), gains=run.gains + attack_comparisons, histories=histories)
    run = with_few_labels(replace(run, facts=run.facts | reading), session, preset, data)
    export = partial(export_bert, session, bert, results[exported_name], original, limits.limits)
    run = hand_over(session, run, export)
    run = explain_documents(session, run, results[exported_name].probabilities, data)
    shrink = partial(small_forms, session.config, bert, results[exported_name], original)
    return finish(session, run, shrink=shrink)


def explain_documents(
    session: Session, run: report.Run, probabilities: np.ndarray, data: DocumentData
) -> report.Run:
    """Asks about documents as they were cleaned: a report does not show what --scrub takes away."""
    test = data.test

    def item(index: int) -> Item:
        return Item(test.ids[index], test.texts[index].encode("utf-8", "replace"), True)

    return with_explained(session, run, probabilities, test.labels, data.class_names, item)


def train_berts(
    trainings: DocumentTrainings,
) -> tuple[dict[str, TextClassifier], dict[str, CalibratedResult]]:
    """Trains each BERT of `noises`, and asks it about the test documents."""
    session = trainings.session
    berts, results = {}, {}
    for name, noise in noises(session.config).items():
        with session.clock.stage(name):
            berts[name] = trainings.train(name, noise=noise)
        seconds = session.seconds(name, name)
        with session.clock.stage(f"{name}: reading"):
            results[name] = trainings.evaluate(name, berts[name], NOTES[name], seconds)
    return berts, results


def train_tf_idf(trainings: DocumentTrainings) -> tuple[Baseline, CalibratedResult]:
    """Trains logistic regression on TF-IDF, and asks it about the test documents."""
    session, data = trainings.session, trainings.data
    with session.clock.stage("tf_idf"):
        baseline = train_baseline(
            trainings.examples(),
            trainings.validation,
            len(data.class_names),
            session.trainer,
            words=session.config.documents.baseline_words,
            loss=trainings.labelling.loss,
        )
        logits = (baseline.logits(part.texts, session.trainer) for part in (data.validation, data.test))
        held_out = HeldOut(*logits)
    seconds = session.seconds("tf_idf", "tf_idf")
    note = NOTES["tf_idf"]
    return baseline, trainings.labelling.calibrated(
        "tf_idf", held_out, trainings.truth, data.class_names, note=note, seconds=seconds
    )


def noises(config: Config) -> dict[str, float]:
    """Returns the highest rate of typing noise that each BERT is trained with, by the BERT's name."""
    return {"bert": 0.0} | ({"bert_robust": max(config.attack.slips)} if config.attack.robust else {})


def without_transfer(
    trainings: DocumentTrainings, bert: TextClassifier, of_bert: CalibratedResult
) -> Baselines:
    """Trains BERT from random weights, with all documents and with fewer, as far as the flags ask for it.

    Args:
        trainings: what trainings share.
        bert: with the transferred weights, trained on all documents.
        of_bert: what it answers.
    """
    session, data = trainings.session, trainings.data
    protocol = protocol_name(session.config.text)
    if not (session.config.train.baseline and learned_before(trainings)):
        return Baselines()
    with session.clock.stage(protocol):
        protocol_bert = trainings.train(protocol, weights="none")
    with session.clock.stage(FROM_SCRATCH):
        scratch, attempts = train_from_scratch(trainings, bert)
    classifiers = {protocol: protocol_bert, FROM_SCRATCH: scratch.trained}
    notes = {protocol: NOTES[protocol], FROM_SCRATCH: scratch_note("BERT", scratch, attempts)}
    with session.clock.stage("without transfer: reading"):
        results = measure_without_transfer(trainings, classifiers, notes)
    amounts = []
    per_class = () if trainings.labelling is SEVERAL_LABELS else session.config.scorer.per_class
    for count in counts_of(data.train.labels, per_class)[:-1]:
        with session.clock.stage(f"{count} a class"):
            amounts.append(worth_of(trainings, count, scratch.rate))
    baselines = Baselines(
        results,
        histories=tuple(item.history for item in classifiers.values() if item.history),
        facts={f"without transfer, {item.count} a class": item.baseline for item in amounts},
        tables=(tried_table(attempts),),
    )
    if not amounts:
        return baselines
    amounts.append(Worth(0, len(data.train), of_bert.correct, results[NO_TRANSFER].correct))
    return replace(
        baselines,
        tables=(worth_table(amounts, "documents"), *baselines.tables),
        plots=(worth_plot(amounts, len(data.class_names), "documents"),),
    )


def learned_before(trainings: DocumentTrainings) -> bool:
    """Tells whether the encoder has weights that can be worth something, and says so where it has not."""
    text = trainings.session.config.text
    with trainings.session.trainer.strategy.scope():
        encoder_is_new = is_new(text_encoder(trainings.preset, text.sequence_length).model)
    if encoder_is_new:
        trainings.session.clock.log(
            f"warning: --text_encoder={text.text_encoder} was never trained: nothing is transferred, "
            "and there is no baseline without transfer"
        )
    return not encoder_is_new


def measure_without_transfer(
    trainings: DocumentTrainings, trained: dict[str, TextClassifier], notes: dict[str, str]
) -> dict[str, CalibratedResult]:
    """Measures what answers without transfer, and calls the better one on validation "no_transfer" too."""
    session = trainings.session
    results = {
        name: trainings.evaluate(name, item, notes[name], session.seconds(name, name))
        for name, item in trained.items()
    }
    logits = {name: item.logits.validation for name, item in results.items()}
    best = trainings.labelling.best_on_validation(logits, trainings.truth.validation)
    result = replace(results[best].result, name=NO_TRANSFER, note=better_note(best, "documents"))
    return results | {NO_TRANSFER: replace(results[best], result=result)}


def attack(
    session: Session, berts: dict[str, TextClassifier], data: DocumentData
) -> tuple[tuple[Comparison, ...], tuple[report.Table, ...]]:
    """Attacks some of the test documents, where the flags ask for it: what that cost, and the tables."""
    config = session.config
    indices = attacked_examples(len(data.test), config.attack.attacked_examples, config.run.seed)
    if not len(indices):
        return (), ()
    training_words = known_words(data.train.texts)
    attacks = attack_all(
        session,
        berts,
        lambda name: attack_documents(
            berts[name],
            data.test.texts[indices],
            data.test.labels[indices],
            [data.test.ids[index] for index in indices],
            training_words,
            config=config.attack,
            max_words=config.text.sequence_length,
            trainer=session.trainer,
        ),
    )
    return attack_comparisons(attacks, "documents"), (
        attack_table(attacks, "documents"),
        *(adversarial_table(item, name, "words") for name, item in attacks.items() if item.misled),
    )


def evaluate_elsewhere(
    session: Session,
    bert: TextClassifier,
    validation: np.ndarray,
    labels: np.ndarray,
    others: dict[str, DocumentData],
) -> dict[str, Result]:
    """Evaluates BERT on other test sets; nothing of them was learned or chosen by.

    Args:
        session: the run.
        bert: the trained classifier.
        validation: its logits of the validation split (V, C), which calibrate all others.
        labels: of that split (V,).
        others: name -> documents with that test split.

    Returns:
        "bert_" and the name -> result.
    """
    sizes = [len(other.test) for other in others.values()]
    raw_texts = np.concatenate([other.test.texts for other in others.values()])
    texts, _ = prepare_texts(raw_texts, scrub=session.config.documents.scrub)
    answers = bert.logits(texts, session.trainer, name="bert: other test sets")
    parts = np.split(answers, np.cumsum(sizes)[:-1])
    results = {}
    for (name, other), part in zip(others.items(), parts, strict=True):
        note = f"the same BERT on {name}, of which it saw nothing before"
        held_out = HeldOut(labels, other.test.labels)
        logits = HeldOut(validation, part)
        results[f"bert_{name}"] = calibrated_result(
            f"bert_{name}", logits, held_out, other.class_names, note=note
        ).result
    return results

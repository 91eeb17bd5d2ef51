"""Documents -> clean text without personal data -> BERT -> a class, against TF-IDF on the same text.

From a folder of .txt files to a model that takes them as they are written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from xmodal import assets, export, report
from xmodal.bridge import fit_temperature, softmax
from xmodal.checkpoint import Checkpoints
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.documents import (
    DocumentData,
    DocumentSplit,
    configured_documents,
    other_test_documents,
)
from xmodal.data.scrub import Prepared, preparation, prepare_documents, prepare_texts
from xmodal.evaluate import Gain, Result, evaluate, hardest, paired_gain
from xmodal.export_check import Question, export_checked
from xmodal.job import Job, begin, finish
from xmodal.robustness import attack_gains, attack_table, attacked_examples, misled_table, once, training_cost
from xmodal.small import Examples, drawn, small_documents
from xmodal.text_attack import attack_documents, known_words
from xmodal.text_classifier import TextClassifier, TextExamples, merge, train_text_classifier
from xmodal.tfidf import train_baseline

NOTES = {
    "bert": "BERT and a head, trained on the documents",
    "bert_robust": "the same, trained on documents with typing noise too",
    "tf_idf": "logistic regression on TF-IDF of the same documents",
}
HARDEST = 20
SHOWN_CHARACTERS = 160
CHECKED_DOCUMENTS = 32


@dataclass(frozen=True)
class Measured:
    """A result, the calibrated probabilities (N, C) of the test documents, and their temperature."""

    result: Result
    probabilities: np.ndarray
    temperature: float


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    job = begin(config, clock)
    strategy, checkpoints = job.strategy, job.checkpoints
    with clock.stage("data"):
        original = documents_of(config)
        others = other_test_documents(
            original, config.documents, cache=cache_folder(), offline=config.run.offline
        )
        preset = assets.text_encoder_path(
            config.text.text_encoder, cache=cache_folder(), offline=config.run.offline
        )
    job.warn(original.report)
    for name, other in others.items():
        job.warn(other.report, name)
    with clock.stage("cleaning"):
        prepared = prepare_documents(original, scrub=config.documents.scrub)
        data = prepared.data
        train, validation = examples_of(data.train), examples_of(data.validation)

    berts: dict[str, TextClassifier] = {}
    measured: dict[str, Measured] = {}
    for name, noise in noises(config).items():
        with clock.stage(name):
            berts[name] = train_text_classifier(
                preset,
                train,
                len(data.class_names),
                config=config.text,
                seed=config.run.seed,
                strategy=strategy,
                stage=name,
                validation=validation,
                patience=config.image.patience,
                checkpoints=checkpoints,
                training=config.train,
                noise=noise,
            )
        with clock.stage(f"{name}: reading"):
            held_out, test = (
                berts[name].logits(split.texts, strategy, stage=f"{name}: {part}", checkpoints=checkpoints)
                for part, split in (("validation", data.validation), ("test", data.test))
            )
            measured[name] = measure(name, held_out, test, data, clock.seconds[name])
    # The last one is what is asked elsewhere, and exported.
    shipped, bert = [*berts.items()][-1]
    elsewhere = {}
    if others:
        with clock.stage("bert: reading other test sets"):
            elsewhere = measure_elsewhere(config, bert, held_out, others, strategy, checkpoints)
    with clock.stage("tf_idf"):
        baseline = train_baseline(
            train,
            validation,
            len(data.class_names),
            words=config.documents.baseline_words,
            seed=config.run.seed,
            strategy=strategy,
            stage="tf_idf",
            checkpoints=checkpoints,
        )
        held_out, test = (baseline.logits(split.texts, strategy) for split in (data.validation, data.test))
    measured["tf_idf"] = measure("tf_idf", held_out, test, data, clock.seconds["tf_idf"])

    foiled, under_attack = attack(job, berts, data)
    right = {name: item.probabilities.argmax(axis=1) == data.test.labels for name, item in measured.items()}
    run = report.Run(
        **job.told(),
        title="Documents to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()} | elsewhere,
        gains=(
            paired_gain(right["bert"], right["tf_idf"], what="BERT, against TF-IDF,", unit="documents"),
            *(
                paired_gain(
                    right[name], right["bert"], what=f"{name} in the place of bert,", unit="documents"
                )
                for name in [*berts][1:]
            ),
            *foiled,
        ),
        transfer=None,
        histories=tuple(
            history for history in (*(item.history for item in berts.values()), baseline.history) if history
        ),
        gallery=(),
        facts=mean_elsewhere(elsewhere)
        | {"temperature of BERT": measured[shipped].temperature}
        | (training_cost(shipped, "bert", clock.seconds) if shipped != "bert" else {}),
        further_data={name: other.report for name, other in others.items()},
        tables=(
            *class_reports(measured),
            *under_attack,
            hardest_documents(measured[shipped].probabilities, data),
            *personal_data(config, prepared),
        ),
        headline=shipped,
    )
    return finish(
        job,
        run,
        lambda: export_bert(config, bert, measured[shipped], original, checkpoints),
        lambda exported: small_forms(config, bert, measured[shipped], original, exported),
    )


def documents_of(config: Config) -> DocumentData:
    """Reads, splits and audits the documents that the flags name."""
    return configured_documents(
        config.data,
        config.documents,
        cache=cache_folder(),
        seed=config.run.seed,
        offline=config.run.offline,
    )


def noises(config: Config) -> dict[str, float]:
    """Returns the highest rate of typing noise that each BERT is trained with, by the BERT's name."""
    return {"bert": 0.0} | ({"bert_robust": max(config.attack.slips)} if config.attack.robust else {})


def attack(
    job: Job, berts: dict[str, TextClassifier], data: DocumentData
) -> tuple[tuple[Gain, ...], tuple[report.Table, ...]]:
    """Attacks some of the test documents, where the flags ask for it: what that cost, and the tables."""
    config, clock = job.config, job.clock
    picked = attacked_examples(len(data.test), config.attack.attacked_examples, config.run.seed)
    if not len(picked):
        return (), ()
    known = known_words(data.train.texts)
    attacked = {}
    for name, bert in berts.items():
        with clock.stage(f"{name}: under attack"):
            attacked[name] = once(
                job,
                f"{name}: under attack",
                partial(
                    attack_documents,
                    bert,
                    data.test.texts[picked],
                    data.test.labels[picked],
                    [data.test.ids[index] for index in picked],
                    known,
                    config=config.attack,
                    longest=config.text.sequence_length,
                    seed=config.run.seed,
                    strategy=job.strategy,
                ),
            )
    return attack_gains(attacked, "documents"), (
        attack_table(attacked, "documents"),
        *(misled_table(item, name, "words") for name, item in attacked.items() if item.misled),
    )


def examples_of(split: DocumentSplit) -> TextExamples:
    """Returns a split's distinct pairs of text and class, each with the weight of its occurrences."""
    return merge(split.texts, split.labels)


def measure(
    name: str,
    validation: np.ndarray,
    test: np.ndarray,
    data: DocumentData,
    seconds: float | None,
    note: str = "",
) -> Measured:
    """Calibrates logits by those of the validation split, and evaluates those of the test split (N, C)."""
    temperature = fit_temperature(validation, data.validation.labels)
    probabilities = softmax(test, temperature)
    result = evaluate(
        name,
        probabilities,
        data.test.labels,
        data.class_names,
        uncalibrated=softmax(test),
        note=note or NOTES[name],
        seconds=seconds,
    )
    return Measured(result, probabilities, temperature)


def measure_elsewhere(
    config: Config,
    bert: TextClassifier,
    validation: np.ndarray,
    others: dict[str, DocumentData],
    strategy,
    checkpoints: Checkpoints | None,
) -> dict[str, Result]:
    """Evaluates BERT on other test sets; nothing of them was learned or chosen by.

    Args:
        config: all flags.
        bert: the trained classifier.
        validation: its logits of the validation split (V, C), which calibrate all others.
        others: name -> documents with that test split.
        strategy, checkpoints: as everywhere.

    Returns:
        "bert_" and the name -> result.
    """
    sizes = [len(other.test) for other in others.values()]
    original = np.concatenate([other.test.texts for other in others.values()])
    texts, _ = prepare_texts(original, scrub=config.documents.scrub)
    logits = bert.logits(texts, strategy, stage="bert: other test sets", checkpoints=checkpoints)
    parts = np.split(logits, np.cumsum(sizes)[:-1])
    results = {}
    for (name, other), part in zip(others.items(), parts, strict=True):
        note = f"the same BERT on {name}, of which it saw nothing before"
        results[f"bert_{name}"] = measure(f"bert_{name}", validation, part, other, None, note).result
    return results


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


def export_bert(
    config: Config,
    bert: TextClassifier,
    measured: Measured,
    original: DocumentData,
    checkpoints: Checkpoints,
) -> dict[str, float | int | str]:
    """Exports the model, and compares it on test documents as they were written, in a fresh process."""
    served = export.ServedDocuments(
        text=bert,
        temperature=measured.temperature,
        prepare=text_of(config),
        names=original.class_names,
    )
    folder = config.run.saved_models_dir / config.run.experiment
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[:CHECKED_DOCUMENTS]]
    question = Question({"text": texts}, measured.probabilities[:CHECKED_DOCUMENTS])
    return export_checked(served, folder, [question], checkpoints.stage("export"))


def text_of(config: Config) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what makes the texts (B,) that BERT reads of documents (B,) as they were written, in-graph."""
    prepare = preparation(config.documents.scrub)
    return lambda documents: prepare(documents)[0]


def small_forms(
    config: Config, bert: TextClassifier, measured: Measured, original: DocumentData, exported: Path
) -> tuple[report.Table, ...]:
    """Makes small forms of the export, and measures them on test documents as they were written."""
    places = drawn(len(original.test), config.run.seed)
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[places]]
    return small_documents(
        exported,
        bert,
        temperature=measured.temperature,
        prepare=text_of(config),
        names=original.class_names,
        test=Examples(texts, original.test.labels[places]),
        probabilities=measured.probabilities[places],
    )

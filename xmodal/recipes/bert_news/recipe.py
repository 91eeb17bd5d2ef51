"""Documents -> clean text without personal data -> BERT -> a class, against TF-IDF on the same text.

From a folder of .txt files to a model that takes them as they are written, and what the transfer of BERT's
weights is worth: the same BERT from random weights, with all documents and with fewer.
"""

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from xmodal import report
from xmodal.assets.presets import text_encoder_path
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.cleaned_documents import prepare_documents
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.intervals import Gain
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.models.text_encoder import is_new, text_encoder
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.bert_news.baselines import (
    Bench,
    protocol_name,
    right_answers,
    train_from_scratch,
    worth_of,
)
from xmodal.recipes.bert_news.exports import export_bert, small_forms
from xmodal.recipes.bert_news.tables import (
    Measured,
    class_reports,
    gains,
    hardest_documents,
    mean_elsewhere,
    personal_data,
)
from xmodal.recipes.transfer_worth import Worth, tried_table, worth_plot, worth_table
from xmodal.robustness.attacked import (
    attack_gains,
    attack_table,
    attacked_examples,
    misled_table,
    once,
    training_cost,
)
from xmodal.robustness.text_attack import attack_documents, known_words
from xmodal.runs.inputs import configured_documents, other_test_documents
from xmodal.runs.session import Job, begin, finish
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.tasks.tfidf_classifier import train_baseline
from xmodal.text.cleaning import prepare_texts
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_FROZEN,
    RANDOM_WEIGHTS,
    best_on_validation,
    better_note,
    scratch_note,
)
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.progress import History

NOTES = {
    "bert": "BERT and a head, trained on the documents",
    "bert_robust": "the same, trained on documents with typing noise too",
    RANDOM_FROZEN: "the protocol of bert with random weights: a head on a frozen network",
    RANDOM_WEIGHTS: "the protocol of bert with random weights: the same layers, rates and epochs",
    "tf_idf": "logistic regression on TF-IDF of the same documents",
}


@dataclass(frozen=True)
class Baselines:
    """What BERT from random weights adds to a run; nothing where nothing was transferred.

    Attributes:
        measured: by name.
        histories: of its trainings with all documents.
        facts, tables, plots: as in `report.Run`.
    """

    measured: dict[str, Measured] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    facts: dict[str, float | int | str] = field(default_factory=dict)
    tables: tuple[report.Table, ...] = ()
    plots: tuple[report.Plot, ...] = ()


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
        preset = text_encoder_path(config.text.text_encoder, cache=cache_folder(), offline=config.run.offline)
    job.check_data(original.report)
    for name, other in others.items():
        job.check_data(other.report, name)
    with clock.stage("cleaning"):
        prepared = prepare_documents(original, scrub=config.documents.scrub)
        data = prepared.data
    bench = Bench(job, preset, data)

    berts: dict[str, TextClassifier] = {}
    measured: dict[str, Measured] = {}
    for name, noise in noises(config).items():
        with clock.stage(name):
            berts[name] = bench.trained(name, noise=noise)
        with clock.stage(f"{name}: reading"):
            held_out, test = (bench.logits(berts[name], name, part) for part in ("validation", "test"))
            measured[name] = measure(name, held_out, test, data, clock.seconds[name])
    # The last one is what is asked elsewhere, and exported.
    shipped, bert = [*berts.items()][-1]
    elsewhere = {}
    if others:
        with clock.stage("bert: reading other test sets"):
            elsewhere = measure_elsewhere(config, bert, held_out, others, strategy, checkpoints)
    with clock.stage("tf_idf"):
        baseline = train_baseline(
            bench.examples(),
            bench.validation,
            len(data.class_names),
            words=config.documents.baseline_words,
            seed=config.run.seed,
            strategy=strategy,
            stage="tf_idf",
            checkpoints=checkpoints,
        )
        held_out, test = (baseline.logits(split.texts, strategy) for split in (data.validation, data.test))
    tf_idf = {"tf_idf": measure("tf_idf", held_out, test, data, clock.seconds["tf_idf"])}
    without = without_transfer(bench, berts["bert"], measured["bert"])

    foiled, under_attack = attack(job, berts, data)
    classes = class_reports(measured | tf_idf)
    measured |= without.measured | tf_idf
    run = report.Run(
        **job.told(),
        title="Documents to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()} | elsewhere,
        gains=(*gains(measured, data), *foiled),
        transfer=None,
        histories=(
            *(item.history for item in berts.values() if item.history),
            *without.histories,
            baseline.history,
        ),
        gallery=(),
        facts=mean_elsewhere(elsewhere)
        | {"temperature of BERT": measured[shipped].temperature}
        | (training_cost(shipped, "bert", clock.seconds) if shipped != "bert" else {})
        | without.facts,
        further_data={name: other.report for name, other in others.items()},
        tables=(
            *without.tables,
            *classes,
            *under_attack,
            hardest_documents(measured[shipped].probabilities, data),
            *personal_data(config, prepared),
        ),
        plots=without.plots,
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


def without_transfer(bench: Bench, bert: TextClassifier, of_bert: Measured) -> Baselines:
    """Trains BERT from random weights, with all documents and with fewer, as far as the flags ask for it.

    Args:
        bench: what trainings share.
        bert: with the transferred weights, trained on all documents.
        of_bert: what it answers.
    """
    job, data = bench.job, bench.data
    same = protocol_name(job.config.text)
    if not (job.config.train.baseline and learned_before(bench)):
        return Baselines()
    with job.clock.stage(same):
        like_bert = bench.trained(same, weights="none")
    with job.clock.stage(FROM_SCRATCH):
        scratch, attempts = train_from_scratch(bench, bert)
    trained = {same: like_bert, FROM_SCRATCH: scratch.trained}
    notes = {same: NOTES[same], FROM_SCRATCH: scratch_note("BERT", scratch, attempts)}
    with job.clock.stage("without transfer: reading"):
        measured = measured_without(bench, trained, notes)
    amounts = []
    for count in counts_of(data.train.labels, job.config.scorer.per_class)[:-1]:
        with job.clock.stage(f"{count} a class"):
            amounts.append(worth_of(bench, count, scratch.rate))
    with_it, without = (right_answers(bench, item.probabilities) for item in (of_bert, measured[NO_TRANSFER]))
    shown = Baselines(
        measured,
        histories=tuple(item.history for item in trained.values() if item.history),
        facts={f"without transfer, {item.count} a class": item.baseline for item in amounts},
        tables=(tried_table(attempts),),
    )
    if not amounts:
        return shown
    amounts.append(Worth(0, len(data.train), with_it, without))
    return replace(
        shown,
        tables=(worth_table(amounts, "documents"), *shown.tables),
        plots=(worth_plot(amounts, len(data.class_names), "documents"),),
    )


def learned_before(bench: Bench) -> bool:
    """Tells whether the encoder has weights that can be worth something, and says so where it has not."""
    text = bench.job.config.text
    with bench.job.strategy.scope():
        new = is_new(text_encoder(bench.preset, text.sequence_length).model)
    if new:
        bench.job.clock.say(
            f"warning: --text_encoder={text.text_encoder} was never trained: nothing is transferred, "
            "and there is no baseline without transfer"
        )
    return not new


def measured_without(
    bench: Bench, trained: dict[str, TextClassifier], notes: dict[str, str]
) -> dict[str, Measured]:
    """Measures what answers without transfer, and calls the better one on validation "no_transfer" too."""
    data, seconds = bench.data, bench.job.clock.seconds
    held_out, test = (
        {name: bench.logits(item, name, part) for name, item in trained.items()}
        for part in ("validation", "test")
    )
    measured = {
        name: measure(name, held_out[name], test[name], data, seconds[name], notes[name]) for name in trained
    }
    best = best_on_validation(held_out, data.validation.labels)
    result = replace(measured[best].result, name=NO_TRANSFER, note=better_note(best, "documents"))
    return measured | {NO_TRANSFER: replace(measured[best], result=result)}


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

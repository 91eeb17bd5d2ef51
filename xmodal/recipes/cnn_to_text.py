"""CNN -> text and back: one scorer s(x, c) for two modalities, and what its weights are worth in the other.

A CNN learns images and a BiLSTM learns documents, both by the likeness of what they see to the names of the
classes. Then the scorer that one of them learned starts the other one's training, at several amounts of
examples, beside the same training without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from xmodal import assets, report
from xmodal.backbones import image_trunk
from xmodal.bridge import readable
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.audit import DataReport
from xmodal.data.documents import configured_documents
from xmodal.data.images import configured_images
from xmodal.data.texts import read_descriptions
from xmodal.evaluate import Gain, Result, evaluate
from xmodal.job import Job, begin, finish
from xmodal.modality import ClassTexts, Modality, document_modality, image_modality
from xmodal.repeats import mean_of, repeated_gain
from xmodal.scored_classifier import class_texts
from xmodal.trials import (
    Learned,
    Setting,
    Trial,
    amount,
    counts_of,
    learn,
    tell_unseen,
    trials,
    truth_of,
    unseen_of,
    unseen_trials,
)

Facts = dict[str, float | int | str]
TITLE = "One scorer for images and documents"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        rights: for each training, with each seed, whether each test example was answered rightly (N,).
        guesses: the same of test examples of the unseen classes, of trainings without these.
        whole: what was learned from all examples with the first seed, by the trainings' names.
    """

    rights: dict[Trial, list[np.ndarray]]
    guesses: dict[Trial, list[np.ndarray]]
    whole: dict[str, Learned]


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
        modalities, reports, facts = modalities_of(config, strategy)
    for data in reports:
        job.warn(data)
    setting = Setting(
        config,
        strategy,
        checkpoints,
        modalities,
        counts={
            name: counts_of(side.labels["train"], config.scorer.per_class)
            for name, side in modalities.items()
        },
        unseen={name: unseen_of(side, config) for name, side in modalities.items()},
    )
    measured = measure(setting, clock)
    run = reported(job, setting, measured, reports, facts)
    return finish(job, run)


def measure(setting: Setting, clock: Clock) -> Measured:
    """Trains everything with every seed, and asks all of it about the test examples."""
    measured = Measured({}, {}, {})
    first = setting.config.run.seed
    for seed in range(first, first + setting.config.scorer.seeds):
        alone: dict[str, keras.Model] = {}
        with clock.stage(f"seed {seed}"):
            for trial in trials(setting):
                learned = learn(setting, trial, alone, seed)
                right = learned.probabilities.argmax(axis=1) == truth_of(setting, trial)
                measured.rights.setdefault(trial, []).append(right)
                clock.say(f"{trial.name}: {right.mean():.2%}")
                if not trial.count and not trial.source:
                    alone[trial.modality] = learned.scored.model
                if not trial.count and seed == first:
                    measured.whole[trial.name] = learned
        if setting.config.scorer.unseen:
            with clock.stage(f"seed {seed}: unseen classes"):
                for trial in unseen_trials(setting):
                    right = tell_unseen(setting, trial, alone, seed)
                    measured.guesses.setdefault(trial, []).append(right)
    return measured


def reported(
    job: Job,
    setting: Setting,
    measured: Measured,
    reports: tuple[DataReport, ...],
    facts: Facts,
) -> report.Run:
    """Puts what was measured into tables, plots and sentences."""
    whole = measured.whole
    return report.Run(
        **job.told(),
        title=TITLE,
        data=reports[0],
        further_data={"documents": reports[1]},
        results={name: _result(setting, name, learned) for name, learned in whole.items()},
        gains=tuple(_gains(measured.rights)),
        transfer=next((one.scored.transfer for one in whole.values() if one.scored.transfer), None),
        histories=tuple(learned.scored.history for learned in whole.values()),
        gallery=(),
        facts=facts | _scales(whole),
        headline=Trial("documents", 0).name,
        tables=(*_tables(measured.rights), *_unseen_table(setting, measured.guesses)),
        plots=tuple(_plots(setting, measured.rights)),
    )


def modalities_of(config: Config, strategy) -> tuple[dict[str, Modality], tuple[DataReport, ...], Facts]:
    """Reads images and documents, and says what became of the documents' words."""
    cache, offline = cache_folder(), config.run.offline
    image_data = configured_images(config)
    # --class_names is for the images.
    document_data = configured_documents(
        replace(config.data, class_names=()),
        config.documents,
        cache=cache,
        seed=config.run.seed,
        offline=offline,
    )
    preset = assets.text_encoder_path(config.text.text_encoder, cache=cache, offline=offline)

    def texts(class_names: tuple[str, ...], described: Path | None) -> ClassTexts:
        names, targets = [readable(name) for name in class_names], np.arange(len(class_names))
        if described:
            more, of_class = read_descriptions(described, class_names)
            names, targets = names + more, np.concatenate([targets, of_class])
        return class_texts(names, targets, class_names, preset, strategy=strategy)

    images = image_modality(
        image_data,
        texts(image_data.class_names, None),
        lambda: image_trunk(
            config.image.base,
            config.data.image_size,
            config.image.features,
            weights=config.image.image_weights,
            cache=cache,
            offline=offline,
        ),
        data_config=config.data,
        config=config.image,
    )
    documents, numbered = document_modality(
        document_data,
        texts(document_data.class_names, config.scorer.class_descriptions),
        preset,
        text_config=config.text,
        config=config.scorer,
        label_smoothing=config.image.label_smoothing,
        seed=config.run.seed,
    )
    facts: Facts = {"longest document that is read, in words": config.text.sequence_length}
    for split, words in numbered.items():
        facts[f"{split} documents that were cut there"] = words.cut
        facts[f"{split} documents without a word that is known"] = words.unknown
    return {"images": images, "documents": documents}, (image_data.report, document_data.report), facts


def _result(setting: Setting, name: str, learned: Learned) -> Result:
    modality = setting.modalities[name.partition(",")[0]]
    return evaluate(
        name,
        learned.probabilities,
        modality.labels["test"],
        modality.class_names,
        note=f"trained with seed {setting.config.run.seed}",
    )


def _gains(rights: dict[Trial, list[np.ndarray]]) -> Iterator[Gain]:
    for trial, right in rights.items():
        if trial.source:
            what = f"the scorer of the {trial.source}, at {amount(trial.count)} {trial.modality} a class,"
            alone = np.stack(rights[replace(trial, source=None)])
            yield repeated_gain(np.stack(right), alone, what=what, unit=trial.modality)


def _scales(whole: dict[str, Learned]) -> Facts:
    return {
        f"scale learned by {name}": float(np.exp(learned.scored.model.get_layer("scorer").log_scale.numpy()))
        for name, learned in whole.items()
    }


def _tables(rights: dict[Trial, list[np.ndarray]]) -> Iterator[report.Table]:
    moved = [trial for trial in rights if trial.source]
    for modality in dict.fromkeys(trial.modality for trial in rights):
        rows = []
        for trial in rights:
            if trial.modality == modality and not trial.source:
                row: tuple[str, ...] = (amount(trial.count), _accuracy(rights[trial]))
                for other in moved:
                    if replace(other, source=None) == trial:
                        gain = repeated_gain(
                            np.stack(rights[other]), np.stack(rights[trial]), what="", unit=""
                        )
                        row += (_accuracy(rights[other]), _points(gain))
                rows.append(row)
        sources = [trial.source for trial in moved if trial.modality == modality and not trial.count]
        head: tuple[str, ...] = (f"{modality} a class", "scorer from random weights")
        for source in sources:
            head += (f"scorer of the {source}", "difference in points")
        seeds = len(next(iter(rights.values())))
        yield report.Table(
            f"Test accuracy on {modality} by examples, {_seeds(seeds)}, with 95% intervals", head, tuple(rows)
        )


def _unseen_table(setting: Setting, guesses: dict[Trial, list[np.ndarray]]) -> Iterator[report.Table]:
    rows = []
    for trial, right in guesses.items():
        modality, unseen = setting.modalities[trial.modality], setting.unseen[trial.modality]
        rows.append(
            (
                trial.modality,
                f"scorer of the {trial.source}" if trial.source else "scorer from random weights",
                ", ".join(modality.class_names[label] for label in unseen),
                _accuracy(right),
                f"{1 / len(unseen):.1%}",
            )
        )
    if rows:
        head = ("examples", "start", "classes, told by their names alone", "accuracy", "chance")
        caption = (
            "Test examples of classes that no document or image was seen of in training, "
            f"{setting.config.scorer.seen_per_class} examples of each other class"
        )
        yield report.Table(caption, head, tuple(rows))


def _plots(setting: Setting, rights: dict[Trial, list[np.ndarray]]) -> Iterator[report.Plot]:
    for modality in setting.modalities:
        series = []
        for source in dict.fromkeys(trial.source for trial in rights if trial.modality == modality):
            points = [trial for trial in rights if (trial.modality, trial.source) == (modality, source)]
            means = [mean_of(np.stack(rights[trial])) for trial in points]
            name = f"scorer of the {source}" if source else "scorer from random weights"
            series.append(
                report.Series(
                    name,
                    tuple(_per_class(setting, trial) for trial in points),
                    tuple(100 * mean.value for mean in means),
                    low=tuple(100 * mean.ci95[0] for mean in means),
                    high=tuple(100 * mean.ci95[1] for mean in means),
                )
            )
        yield report.Plot(
            f"Test accuracy on {modality}, with 95% intervals",
            f"{modality} a class",
            "accuracy, %",
            tuple(series),
            log_x=True,
        )


def _per_class(setting: Setting, trial: Trial) -> float:
    labels = setting.modalities[trial.modality].labels["train"]
    counts = np.bincount(labels)
    return float(np.minimum(counts, trial.count).mean() if trial.count else counts.mean())


def _seeds(count: int) -> str:
    return f"mean of {count} seeds" if count > 1 else "one seed"


def _accuracy(rights: list[np.ndarray]) -> str:
    mean = mean_of(np.stack(rights))
    return f"{mean.value:.1%} ({mean.ci95[0]:.1%} to {mean.ci95[1]:.1%})"


def _points(gain: Gain) -> str:
    return f"{100 * gain.difference:+.1f} ({100 * gain.ci95[0]:+.1f} to {100 * gain.ci95[1]:+.1f})"

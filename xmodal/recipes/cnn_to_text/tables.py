"""What is reported of `cnn_to_text`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from xmodal import report
from xmodal.data.audit import DataReport
from xmodal.evaluation.intervals import Gain
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.evaluation.repeats import beyond_chance, mean_of, repeated_gain
from xmodal.recipes.amounts import amount
from xmodal.recipes.cnn_to_text.trials import ALONE, Learned, Setting, Trial
from xmodal.recipes.transfer_worth import tried_by_name
from xmodal.runs.session import Job
from xmodal.tasks.similarity_classifier import Scored
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, Attempt, best_of_trainings
from xmodal.training.progress import History

Facts = dict[str, float | int | str]
TITLE = "One scorer for images and documents"
NOTES = {
    ALONE: "from random weights, with the flags' rate and passes",
    RANDOM_FROZEN: "the same with a scorer of random weights that stays as it is",
    FROM_SCRATCH: "from random weights, with the rate and the passes that were best on validation",
}


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        rights: for each training, with each seed, whether each test example was answered rightly (N,).
        histories: for each training, that with each seed.
        guesses: as `rights`, of test examples of the unseen classes, of trainings without these.
        whole: what was learned from all examples with the first seed.
        tried: for each training from scratch, all that was tried with the first seed, the best of it first.
    """

    rights: dict[Trial, list[np.ndarray]] = field(default_factory=dict)
    histories: dict[Trial, list[History]] = field(default_factory=dict)
    guesses: dict[Trial, list[np.ndarray]] = field(default_factory=dict)
    whole: dict[Trial, Learned] = field(default_factory=dict)
    tried: dict[Trial, list[Attempt[Scored]]] = field(default_factory=dict)

    def add(self, trial: Trial, learned: Learned, truth: np.ndarray) -> float:
        """Adds a training with the next seed, and returns its accuracy."""
        right = learned.probabilities.argmax(axis=1) == truth
        self.rights.setdefault(trial, []).append(right)
        self.histories.setdefault(trial, []).append(learned.scored.history)
        if not trial.count:
            self.whole.setdefault(trial, learned)
        return float(right.mean())

    def moved_beside(self, trial: Trial) -> Trial:
        """Returns the training of the same examples with a scorer that moved."""
        (moved,) = (other for other in self.rights if other.source and _same_examples(other, trial))
        return moved

    def no_transfer(self, moved: Trial) -> Trial:
        """Returns the training without the other's scorer that was best on validation over all seeds."""
        beside = [other for other in self.histories if not other.source and _same_examples(other, moved)]
        return best_of_trainings({other: self.histories[other] for other in beside})


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
        results={trial.name: _result(setting, measured, trial) for trial in whole},
        gains=(*_gains(measured), *_beyond_chance(setting, measured.guesses)),
        transfer=next((one.scored.transfer for one in whole.values() if one.scored.transfer), None),
        histories=tuple(learned.scored.history for learned in whole.values()),
        gallery=(),
        facts=facts | _scales(whole),
        headline=Trial("documents", 0).name,
        tables=(
            *_tables(measured),
            *_unseen_table(setting, measured.guesses),
            *_tried_tables(measured.tried, setting.config.run.seed),
        ),
        plots=tuple(_plots(setting, measured.rights)),
    )


def _result(setting: Setting, measured: Measured, trial: Trial) -> Result:
    modality = setting.modalities[trial.modality]
    note = f"with the scorer of the {trial.source}, otherwise as alone" if trial.source else NOTES[trial.way]
    if trial in [measured.no_transfer(moved) for moved in measured.rights if moved.source]:
        note += "; no_transfer, the best without the other's scorer on validation"
    return evaluate(
        trial.name,
        measured.whole[trial].probabilities,
        modality.labels["test"],
        modality.class_names,
        note=f"{note}; seed {setting.config.run.seed}",
    )


def _same_examples(one: Trial, other: Trial) -> bool:
    return (one.modality, one.count) == (other.modality, other.count)


def _gain(measured: Measured, moved: Trial) -> Gain:
    """Compares a training with a scorer that moved with the best one without."""
    other = measured.no_transfer(moved)
    what = f"the scorer of the {moved.source}, at {amount(moved.count)} {moved.modality} a class, "
    return repeated_gain(
        np.stack(measured.rights[moved]),
        np.stack(measured.rights[other]),
        what=f"{what}in the place of no_transfer ({other.way}),",
        unit=moved.modality,
    )


def _gains(measured: Measured) -> Iterator[Gain]:
    yield from (_gain(measured, trial) for trial in measured.rights if trial.source)


def _beyond_chance(setting: Setting, guesses: dict[Trial, list[np.ndarray]]) -> Iterator[Gain]:
    for trial, right in guesses.items():
        yield beyond_chance(
            np.stack(right),
            1 / len(setting.unseen[trial.modality]),
            what=f"naming {trial.modality} of classes that were never seen ({_start(trial)})",
            unit=trial.modality,
        )


def _start(trial: Trial) -> str:
    return f"scorer of the {trial.source}" if trial.source else "scorer from random weights"


def _scales(whole: dict[Trial, Learned]) -> Facts:
    return {
        f"scale learned by {trial.name}": float(
            np.exp(learned.scored.model.get_layer("scorer").log_scale.numpy())
        )
        for trial, learned in whole.items()
    }


def _tables(measured: Measured) -> Iterator[report.Table]:
    rights = measured.rights
    for modality in dict.fromkeys(trial.modality for trial in rights):
        of_it = [trial for trial in rights if trial.modality == modality]
        ways = [way for way in NOTES if any(trial.way == way for trial in of_it)]
        head: tuple[str, ...] = (f"{modality} a class", *ways)
        rows = {
            count: (amount(count), *(_accuracy(rights[Trial(modality, count, way=way)]) for way in ways))
            for count in dict.fromkeys(trial.count for trial in of_it)
        }
        moved = [trial for trial in of_it if trial.source]
        for trial in moved:
            rows[trial.count] += (
                _accuracy(rights[trial]),
                measured.no_transfer(trial).way,
                _points(_gain(measured, trial)),
            )
        if moved:
            head += (f"scorer of the {moved[0].source}", "no_transfer", "points above it")
        seeds = len(next(iter(rights.values())))
        yield report.Table(
            f"Test accuracy on {modality} by examples, {_seeds(seeds)}, with 95% intervals",
            head,
            tuple(rows.values()),
        )


def _tried_tables(tried: dict[Trial, list[Attempt[Scored]]], seed: int) -> Iterator[report.Table]:
    if tried:
        caption = f"Trainings from scratch with seed {seed}; the first of each was taken with every seed"
        yield tried_by_name({trial.name: attempts for trial, attempts in tried.items()}, caption)


def _unseen_table(setting: Setting, guesses: dict[Trial, list[np.ndarray]]) -> Iterator[report.Table]:
    rows = []
    for trial, right in guesses.items():
        modality, unseen = setting.modalities[trial.modality], setting.unseen[trial.modality]
        rows.append(
            (
                trial.modality,
                _start(trial),
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
        lines: dict[str, list[Trial]] = {}
        for trial in rights:
            if trial.modality == modality:
                name = f"scorer of the {trial.source}" if trial.source else trial.way
                lines.setdefault(name, []).append(trial)
        yield report.Plot(
            f"Test accuracy on {modality}, with 95% intervals",
            f"{modality} a class",
            "accuracy, %",
            tuple(_series(setting, rights, name, points) for name, points in lines.items()),
            log_x=True,
        )


def _series(
    setting: Setting, rights: dict[Trial, list[np.ndarray]], name: str, points: Sequence[Trial]
) -> report.Series:
    means = [mean_of(np.stack(rights[trial])) for trial in points]
    return report.Series(
        name,
        tuple(_per_class(setting, trial) for trial in points),
        tuple(100 * mean.value for mean in means),
        low=tuple(100 * mean.ci95[0] for mean in means),
        high=tuple(100 * mean.ci95[1] for mean in means),
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

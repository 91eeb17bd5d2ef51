"""What is reported of `cnn_to_text`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from xmodal import report
from xmodal.data.audit import DataReport
from xmodal.evaluation.intervals import Comparison
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.evaluation.repeats import beyond_chance, compare_repeated, mean_of
from xmodal.recipes.amounts import amount
from xmodal.recipes.cnn_to_text.arms import ALONE, Arm, Experiment, TrainedArm
from xmodal.recipes.cnn_to_text.retrieval import retrieval_tables
from xmodal.recipes.transfer_worth import tried_by_name
from xmodal.tasks.similarity_classifier import SimilarityClassifier
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, Attempt, best_of_trainings
from xmodal.training.progress import History

Facts = dict[str, float | int | str]
NOTES = {
    ALONE: "from random weights, with the flags' rate and passes",
    RANDOM_FROZEN: "the same with a scorer of random weights that stays as it is",
    FROM_SCRATCH: "from random weights, with the rate and the passes that were best on validation",
}


@dataclass(frozen=True)
class Measurements:
    """What was measured.

    Attributes:
        rights: for each training, with each seed, whether each test example was answered rightly (N,).
        histories: for each training, that with each seed.
        guesses: as `rights`, of test examples of the unseen classes, of trainings without these.
        whole: what was learned from all examples with the first seed.
        tried: for each training from scratch, all that was tried with the first seed, the best of it first.
    """

    rights: dict[Arm, list[np.ndarray]] = field(default_factory=dict)
    histories: dict[Arm, list[History]] = field(default_factory=dict)
    guesses: dict[Arm, list[np.ndarray]] = field(default_factory=dict)
    whole: dict[Arm, TrainedArm] = field(default_factory=dict)
    tried: dict[Arm, list[Attempt[SimilarityClassifier]]] = field(default_factory=dict)

    def add(self, arm: Arm, learned: TrainedArm, truth: np.ndarray) -> float:
        """Adds a training with the next seed, and returns its accuracy."""
        right = learned.probabilities.argmax(axis=1) == truth
        self.rights.setdefault(arm, []).append(right)
        self.histories.setdefault(arm, []).append(learned.scored.history)
        if not arm.count:
            self.whole.setdefault(arm, learned)
        return float(right.mean())

    def moved_beside(self, arm: Arm) -> list[Arm]:
        """Returns the trainings of the same examples with a scorer that moved."""
        return [other for other in self.rights if other.source and _same_examples(other, arm)]

    def no_transfer(self, moved: Arm) -> Arm:
        """Returns the training without the other's scorer that was best on validation over all seeds."""
        baselines = [other for other in self.histories if not other.source and _same_examples(other, moved)]
        return best_of_trainings({other: self.histories[other] for other in baselines})


def build_report(
    experiment: Experiment,
    measured: Measurements,
    reports: tuple[DataReport, ...],
    facts: Facts,
) -> report.Run:
    """Puts what was measured into tables, plots and sentences."""
    trained_arms, names = measured.whole, list(experiment.modalities)
    return report.Run(
        **experiment.session.metadata(),
        title=f"One scorer for {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}",
        data=reports[0],
        further_data=dict(zip(names[1:], reports[1:], strict=True)),
        results={arm.name: _result(experiment, measured, arm) for arm in trained_arms},
        gains=(*_gains(measured), *_beyond_chance(experiment, measured.guesses)),
        transfer=next((item.scored.transfer for item in trained_arms.values() if item.scored.transfer), None),
        histories=tuple(trained_arm.scored.history for trained_arm in trained_arms.values()),
        gallery=(),
        facts=facts | _scales(trained_arms),
        headline=Arm(names[-1], 0).name,
        tables=(
            *_tables(measured),
            *retrieval_tables(experiment.modalities, alone_of(trained_arms)),
            *_unseen_table(experiment, measured.guesses),
            *_tried_tables(measured.tried, experiment.session.config.run.seed),
        ),
        plots=tuple(_plots(experiment, measured.rights)),
    )


def alone_of(whole: dict[Arm, TrainedArm]) -> dict[str, np.ndarray]:
    """Returns what each modality's own training on all examples says of its test examples (N, C)."""
    own_arms = {arm.modality: arm for arm in whole if arm.source is None and arm.way == ALONE}
    return {name: whole[arm].probabilities for name, arm in own_arms.items()}


def _result(experiment: Experiment, measurements: Measurements, arm: Arm) -> Result:
    modality = experiment.modalities[arm.modality]
    note = f"with the scorer of the {arm.source}, otherwise as alone" if arm.source else NOTES[arm.way]
    if arm in [measurements.no_transfer(other) for other in measurements.rights if other.source]:
        note += "; no_transfer, the best without the other's scorer on validation"
    return evaluate(
        arm.name,
        measurements.whole[arm].probabilities,
        modality.labels["test"],
        modality.class_names,
        note=f"{note}; seed {experiment.session.config.run.seed}",
    )


def _same_examples(one: Arm, other: Arm) -> bool:
    return (one.modality, one.count) == (other.modality, other.count)


def _gain(measurements: Measurements, arm: Arm) -> Comparison:
    """Compares a training with a scorer that moved with the best one without."""
    baseline = measurements.no_transfer(arm)
    what = f"the scorer of the {arm.source}, at {amount(arm.count)} {arm.modality} a class, "
    return compare_repeated(
        np.stack(measurements.rights[arm]),
        np.stack(measurements.rights[baseline]),
        what=f"{what}in the place of no_transfer ({baseline.way}),",
        unit=arm.modality,
    )


def _gains(measurements: Measurements) -> Iterator[Comparison]:
    yield from (_gain(measurements, arm) for arm in measurements.rights if arm.source)


def _beyond_chance(experiment: Experiment, guesses: dict[Arm, list[np.ndarray]]) -> Iterator[Comparison]:
    for arm, right in guesses.items():
        yield beyond_chance(
            np.stack(right),
            1 / len(experiment.zero_shot_classes[arm.modality]),
            what=f"naming {arm.modality} of classes that were never seen ({_start(arm)})",
            unit=arm.modality,
        )


def _start(arm: Arm) -> str:
    return f"scorer of the {arm.source}" if arm.source else "scorer from random weights"


def _scales(trained_arms: dict[Arm, TrainedArm]) -> Facts:
    return {
        f"scale learned by {arm.name}": float(
            np.exp(trained_arm.scored.model.get_layer("scorer").log_scale.numpy())
        )
        for arm, trained_arm in trained_arms.items()
    }


def _tables(measurements: Measurements) -> Iterator[report.Table]:
    rights = measurements.rights
    for modality in dict.fromkeys(arm.modality for arm in rights):
        arms = [arm for arm in rights if arm.modality == modality]
        ways = [way for way in NOTES if any(arm.way == way for arm in arms)]
        head: tuple[str, ...] = (f"{modality} a class", *ways)
        rows = {
            count: (amount(count), *(_accuracy(rights[Arm(modality, count, way=way)]) for way in ways))
            for count in dict.fromkeys(arm.count for arm in arms)
        }
        transfer_arms = [arm for arm in arms if arm.source]
        for arm in transfer_arms:
            rows[arm.count] += (
                _accuracy(rights[arm]),
                measurements.no_transfer(arm).way,
                _points(_gain(measurements, arm)),
            )
        for source in dict.fromkeys(arm.source for arm in transfer_arms):
            head += (f"scorer of the {source}", "no_transfer", "points above it")
        seeds = len(next(iter(rights.values())))
        yield report.Table(
            f"Test accuracy on {modality} by examples, {_seeds(seeds)}, with 95% intervals",
            head,
            tuple(rows.values()),
        )


def _tried_tables(
    attempts_by_arm: dict[Arm, list[Attempt[SimilarityClassifier]]], seed: int
) -> Iterator[report.Table]:
    if attempts_by_arm:
        caption = f"Trainings from scratch with seed {seed}; the first of each was taken with every seed"
        yield tried_by_name({arm.name: attempts for arm, attempts in attempts_by_arm.items()}, caption)


def _unseen_table(experiment: Experiment, guesses: dict[Arm, list[np.ndarray]]) -> Iterator[report.Table]:
    rows = []
    for arm, right in guesses.items():
        modality, classes = experiment.modalities[arm.modality], experiment.zero_shot_classes[arm.modality]
        rows.append(
            (
                arm.modality,
                _start(arm),
                ", ".join(modality.class_names[label] for label in classes),
                _accuracy(right),
                f"{1 / len(classes):.1%}",
            )
        )
    if rows:
        head = ("examples", "start", "classes, told by their names alone", "accuracy", "chance")
        caption = (
            "Test examples of classes that no document or image was seen of in training, "
            f"{experiment.session.config.scorer.seen_per_class} examples of each other class"
        )
        yield report.Table(caption, head, tuple(rows))


def _plots(experiment: Experiment, rights: dict[Arm, list[np.ndarray]]) -> Iterator[report.Plot]:
    for modality in experiment.modalities:
        lines: dict[str, list[Arm]] = {}
        for arm in rights:
            if arm.modality == modality:
                name = f"scorer of the {arm.source}" if arm.source else arm.way
                lines.setdefault(name, []).append(arm)
        yield report.Plot(
            f"Test accuracy on {modality}, with 95% intervals",
            f"{modality} a class",
            "accuracy, %",
            tuple(_series(experiment, rights, name, points) for name, points in lines.items()),
            log_x=True,
        )


def _series(
    experiment: Experiment, rights: dict[Arm, list[np.ndarray]], name: str, points: Sequence[Arm]
) -> report.Series:
    means = [mean_of(np.stack(rights[arm])) for arm in points]
    return report.Series(
        name,
        tuple(_per_class(experiment, arm) for arm in points),
        tuple(100 * mean.value for mean in means),
        low=tuple(100 * mean.ci95[0] for mean in means),
        high=tuple(100 * mean.ci95[1] for mean in means),
    )


def _per_class(experiment: Experiment, arm: Arm) -> float:
    labels = experiment.modalities[arm.modality].labels["train"]
    counts = np.bincount(labels)
    return float(np.minimum(counts, arm.count).mean() if arm.count else counts.mean())


def _seeds(count: int) -> str:
    return f"mean of {count} seeds" if count > 1 else "one seed"


def _accuracy(rights: list[np.ndarray]) -> str:
    mean = mean_of(np.stack(rights))
    return f"{mean.value:.1%} ({mean.ci95[0]:.1%} to {mean.ci95[1]:.1%})"


def _points(gain: Comparison) -> str:
    return f"{100 * gain.difference:+z.1f} ({100 * gain.ci95[0]:+z.1f} to {100 * gain.ci95[1]:+z.1f})"

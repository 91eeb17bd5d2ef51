"""CNN -> text and back: one scorer s(x, c) for two modalities, and what its weights are worth in the other.

A CNN learns images and a BiLSTM learns documents, both by the likeness of what they see to the names of the
classes. Then the scorer that one of them learned starts the other one's training, at several amounts of
examples, beside the same training without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np

from xmodal import assets, report
from xmodal.backbones import image_trunk
from xmodal.bridge import readable, softmax
from xmodal.checkpoint import Checkpoints
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.documents import configured_documents
from xmodal.data.images import configured_images
from xmodal.data.texts import read_descriptions
from xmodal.errors import UserError
from xmodal.evaluate import Gain, Result, evaluate
from xmodal.modality import Modality, document_modality, image_modality
from xmodal.repeats import mean_of, repeated_gain
from xmodal.scored_classifier import (
    MOVED,
    Moving,
    Scored,
    choosing_among,
    class_texts,
    read,
    subset,
    train_scored,
)
from xmodal.strategy import make_strategy, wait_for_all, workers


@dataclass(frozen=True)
class Trial:
    """One training: of what, with how many examples a class (0: all), started from whose scorer."""

    modality: str
    count: int
    source: str | None

    @property
    def name(self) -> str:
        """What stages, results and tables call it."""
        start = f", scorer of {self.source}" if self.source else ""
        return f"{self.modality}, {_amount(self.count)} a class{start}"


@dataclass(frozen=True)
class Setting:
    """What all trainings of a run have in common."""

    config: Config
    strategy: object
    checkpoints: Checkpoints
    modalities: dict[str, Modality]


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    strategy = make_strategy(
        config.run.strategy, config.run.virtual_devices, deterministic=config.run.deterministic
    )
    keras.config.set_dtype_policy(config.train.precision)
    checkpoints = Checkpoints(
        config.run.output_dir / "checkpoints",
        seconds=config.run.checkpoint_seconds,
        steps=config.run.checkpoint_steps,
        writes=workers(strategy).is_chief,
        say=clock.say,
    )
    with clock.stage("data"):
        images, documents, facts, reports = modalities_of(config, strategy)
    for data in reports:
        for warning in data.warnings:
            clock.say(f"warning: {warning}")
    setting = Setting(config, strategy, checkpoints, {side.name: side for side in (images, documents)})

    rights: dict[Trial, list[np.ndarray]] = {}
    results: dict[str, Result] = {}
    first: dict[str, Scored] = {}
    for seed in range(config.run.seed, config.run.seed + config.scorer.seeds):
        learned = {}
        for trial in trials(setting):
            with clock.stage(f"{trial.modality}: {'moved' if trial.source else 'alone'}"):
                source = learned[trial.source].model if trial.source else None
                scored = trained(setting, trial, source, seed)
                logits = answers(setting, trial, scored.model, seed)
            truth = setting.modalities[trial.modality].labels["test"]
            rights.setdefault(trial, []).append(logits.argmax(axis=1) == truth)
            clock.say(f"seed {seed}: {trial.name}: {rights[trial][-1].mean():.2%}")
            if not trial.count and not trial.source:
                learned[trial.modality] = scored
            if not trial.count and seed == config.run.seed:
                results[trial.name] = _result(trial, logits, setting.modalities[trial.modality])
                first[trial.name] = scored
        if config.scorer.unseen:
            with clock.stage("unseen classes"):
                for trial, right in unseen_classes(setting, learned, seed):
                    rights.setdefault(trial, []).append(right)

    moved = [trial for trial in rights if trial.source and trial in trials(setting)]
    run = report.Run(
        experiment=config.run.experiment,
        title="One scorer for images and documents",
        seed=config.run.seed,
        flags=config.flagfile,
        command=f"python -m xmodal.run --flagfile={config.run.output_dir / 'config.cfg'} --overwrite",
        data=reports[0],
        further_data={"documents": reports[1]},
        results=results,
        gains=tuple(_gain(rights, trial) for trial in moved),
        seconds=clock.seconds,
        transfer=next((scored.transfer for scored in first.values() if scored.transfer), None),
        histories=tuple(scored.history for scored in first.values()),
        gallery=(),
        facts=facts | _scales(first),
        headline=Trial("documents", 0, None).name,
        tables=tuple(_tables(setting, rights)),
        plots=tuple(_plots(rights)),
    )
    if not workers(strategy).is_chief:
        wait_for_all(strategy)
        return run
    report.write(run, config.run.output_dir)
    report.tensorboard(run, config.run.output_dir / "tensorboard")
    if config.run.record:
        report.record(run, config.run.record, clock.wall_seconds())
    clock.say(report.console_table(run))
    wait_for_all(strategy)
    return run

"""CNN -> text and back: one scorer s(x, c) for two modalities, and what its weights are worth in the other.

A CNN learns images and a BiLSTM learns documents, both by the likeness of what they see to the names of the
classes. Then the scorer that one of them learned starts the other one's training, at several amounts of
examples, beside trainings from random weights: the same one, and one whose rate and number of passes are
searched on the validation split. The better of these there is called no_transfer.
"""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from xmodal import report
from xmodal.assets.presets import text_encoder_path
from xmodal.bridge.class_names import readable
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.audit import DataReport
from xmodal.data.target_map import read_descriptions
from xmodal.models.heads import ClassTexts
from xmodal.models.image_backbones import image_trunk
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.cnn_to_text.tables import Facts, Measured, reported
from xmodal.recipes.cnn_to_text.trials import (
    ALONE,
    Setting,
    Trial,
    again_from_scratch,
    answered,
    learn,
    tell_unseen,
    trials,
    trials_from_scratch,
    truth_of,
    try_from_scratch,
    unseen_of,
    unseen_trials,
)
from xmodal.runs.inputs import configured_documents, configured_images
from xmodal.runs.session import begin, finish
from xmodal.tasks.modality import Modality, document_modality, image_modality
from xmodal.tasks.similarity_classifier import Scored, class_texts


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
    for name, data in zip(modalities, reports, strict=True):
        job.check_data(data, name)
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
    measured = Measured()
    first = setting.config.run.seed
    for seed in range(first, first + setting.config.scorer.seeds):
        alone: dict[str, keras.Model] = {}
        with clock.stage(f"seed {seed}"):
            for trial in trials(setting):
                learned = learn(setting, trial, alone, seed)
                clock.say(f"{trial.name}: {measured.add(trial, learned, truth_of(setting, trial)):.2%}")
                if not trial.count and not trial.source and trial.way == ALONE:
                    alone[trial.modality] = learned.scored.model
        if trials_from_scratch(setting):
            with clock.stage(f"seed {seed}: from scratch"):
                for trial in trials_from_scratch(setting):
                    learned = answered(setting, trial, from_scratch(setting, measured, trial, seed), seed)
                    clock.say(f"{trial.name}: {measured.add(trial, learned, truth_of(setting, trial)):.2%}")
        if setting.config.scorer.unseen:
            with clock.stage(f"seed {seed}: unseen classes"):
                for trial in unseen_trials(setting):
                    right = tell_unseen(setting, trial, alone, seed)
                    measured.guesses.setdefault(trial, []).append(right)
    return measured


def from_scratch(setting: Setting, measured: Measured, trial: Trial, seed: int) -> Scored:
    """Trains from scratch: in several ways with the first seed, as was best then with the others."""
    if seed == setting.config.run.seed:
        moved = measured.moved_beside(trial)
        assert moved.source is not None
        both = (moved, Trial(moved.source, 0))
        seconds = sum(measured.histories[part][0].seconds for part in both)
        best, tried = try_from_scratch(setting, trial, seconds, seed)
        measured.tried[trial] = [best, *(attempt for attempt in tried if attempt is not best)]
        return best.trained
    return again_from_scratch(setting, trial, measured.tried[trial][0], seed)


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
    preset = text_encoder_path(config.text.text_encoder, cache=cache, offline=offline)

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
        patience=config.image.patience,
        seed=config.run.seed,
    )
    facts: Facts = {"longest document that is read, in words": config.text.sequence_length}
    for split, words in numbered.items():
        facts[f"{split} documents that were cut there"] = words.cut
        facts[f"{split} documents without a word that is known"] = words.unknown
    return {"images": images, "documents": documents}, (image_data.report, document_data.report), facts

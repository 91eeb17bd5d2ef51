"""CNN -> text and back: one scorer s(x, c) for several modalities, and what its weights are worth in others.

A CNN learns images and a BiLSTM learns documents, both by the likeness of what they see to the names of the
classes; a CNN may learn spectrograms of sounds beside them. Then the scorer that one of them learned starts
the training of another, at several amounts of examples, beside trainings from random weights: the same one,
and one whose rate and number of passes are searched on the validation split. The better of these there is
called no_transfer.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from xmodal import report
from xmodal.bridge.class_names import readable
from xmodal.config.config import Config
from xmodal.config.image import ImageConfig
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import DataReport
from xmodal.data.cleaned_documents import prepare_documents
from xmodal.data.documents import DocumentData
from xmodal.data.images import ImageData
from xmodal.data.target_map import read_descriptions
from xmodal.models.heads import ClassTexts
from xmodal.models.image_backbones import image_backbone
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.cnn_to_text.arms import (
    ALONE,
    Arm,
    Experiment,
    arms_from_scratch,
    arms_of,
    evaluate_arm,
    evaluate_zero_shot,
    repeat_from_scratch,
    search_from_scratch,
    train_arm,
    truth_of,
    zero_shot_arms,
    zero_shot_classes_of,
)
from xmodal.recipes.cnn_to_text.tables import Facts, Measurements, build_report
from xmodal.recipes.text_reading import report_word_ids
from xmodal.runs.inputs import load_configured_documents, load_configured_images, load_configured_sounds
from xmodal.runs.session import Session, begin, finish
from xmodal.tasks.modality import Modality, document_modality, image_modality
from xmodal.tasks.similarity_classifier import SimilarityClassifier, class_texts
from xmodal.text.vocabulary import Numbered
from xmodal.training.rehearsal import representatives


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_modalities(config)
    session = begin(config, clock)
    with clock.stage("data"):
        modalities, reports, facts = modalities_of(session)
    for name, data in zip(modalities, reports, strict=True):
        session.check_data(data, name)
    experiment = Experiment(
        session,
        modalities,
        counts={
            name: counts_of(modality.labels["train"], config.scorer.per_class)
            for name, modality in modalities.items()
        },
        zero_shot_classes={
            name: zero_shot_classes_of(modality, config) for name, modality in modalities.items()
        },
    )
    measurements = measure(experiment)
    run = build_report(experiment, measurements, reports, facts)
    return finish(session, run)


def measure(experiment: Experiment) -> Measurements:
    """Trains everything with every seed, and asks all of it about the test examples."""
    measurements, clock = Measurements(), experiment.session.clock
    start = experiment.session.config.run.seed
    # With the first seed more is done than with the others, for which the second one stands in a dry run.
    for seed, repeats in representatives(range(start, start + experiment.session.config.scorer.seeds), 2):
        models: dict[str, keras.Model] = {}
        with clock.stage(f"seed {seed}", repeats):
            for arm in arms_of(experiment):
                trained_arm = train_arm(experiment, arm, models, seed)
                clock.log(f"{arm.name}: {measurements.add(arm, trained_arm, truth_of(experiment, arm)):.2%}")
                if not arm.count and not arm.source and arm.way == ALONE:
                    models[arm.modality] = trained_arm.scored.model
        if arms_from_scratch(experiment):
            with clock.stage(f"seed {seed}: from scratch", repeats):
                for arm in arms_from_scratch(experiment):
                    trained_arm = evaluate_arm(
                        experiment, arm, from_scratch(experiment, measurements, arm, seed), seed
                    )
                    clock.log(
                        f"{arm.name}: {measurements.add(arm, trained_arm, truth_of(experiment, arm)):.2%}"
                    )
        if experiment.session.config.scorer.unseen:
            with clock.stage(f"seed {seed}: unseen classes", repeats):
                for arm in zero_shot_arms(experiment):
                    right = evaluate_zero_shot(experiment, arm, models, seed)
                    measurements.guesses.setdefault(arm, []).append(right)
    return measurements


def from_scratch(experiment: Experiment, measured: Measurements, arm: Arm, seed: int) -> SimilarityClassifier:
    """Trains from scratch: in several ways with the first seed, as was best then with the others."""
    if seed == experiment.session.config.run.seed:
        seconds = max(
            sum(measured.histories[part][0].seconds for part in (other, Arm(str(other.source), 0)))
            for other in measured.moved_beside(arm)
        )
        measured.tried[arm] = search_from_scratch(experiment, arm, seconds, seed)
        return measured.tried[arm][0].trained
    return repeat_from_scratch(experiment, arm, measured.tried[arm][0], seed)


def require_modalities(config: Config) -> None:
    """Raises a `UserError` for a direction from or to a modality that does not take part."""
    sources = {"documents": config.documents.documents, "sounds": config.scorer.sounds}
    remedies = {"sounds": "give `sounds=spoken_digits`", "documents": "give `documents`"}
    for direction in config.scorer.directions:
        for name in direction:
            if sources.get(name) == "none":
                raise UserError(
                    f"`directions={'_to_'.join(direction)}` moves a scorer, and there are no {name}",
                    f"{remedies[name]}, or other directions",
                )


def modalities_of(session: Session) -> tuple[dict[str, Modality], tuple[DataReport, ...], Facts]:
    """Reads images, documents and sounds, and says what became of the documents' words."""
    config, splits = session.config, session.config.splits
    # --class_names is for the images, and groups are those of the sounds, where there are any.
    unnamed_splits = replace(splits, class_names=())
    sounds = (
        load_configured_sounds(replace(config, splits=unnamed_splits))
        if config.scorer.sounds != "none"
        else None
    )
    if sounds:
        splits, unnamed_splits = (
            replace(part, group_column="", group_pattern="") for part in (splits, unnamed_splits)
        )
    images = load_configured_images(replace(config, splits=splits))
    has_documents = config.documents.documents != "none"
    documents = load_configured_documents(replace(config, splits=unnamed_splits)) if has_documents else None
    build = partial(
        image_backbone,
        config.image.base,
        config.data.image_size,
        config.image.features,
        pooling=config.image.pooling,
        weights=config.image.image_weights,
        cache=cache_folder(),
        offline=config.run.offline,
    )
    # So that a mistake is reported before training on the documents.
    build()
    modalities, reports = {"images": seen_modality(session, images, build, config.image)}, [images.report]
    facts: Facts = {}
    if documents:
        modalities["documents"], report_of_documents, facts = read_modality(session, documents)
        reports.append(report_of_documents)
    if sounds:
        scorer = config.scorer
        sound_config = replace(config.image, augment=scorer.sound_augment, epochs=scorer.sound_epochs)
        modalities["sounds"] = seen_modality(session, sounds, build, sound_config)
        reports.append(sounds.report)
    return modalities, tuple(reports), facts


def seen_modality(
    session: Session, data: ImageData, build: Callable[[], keras.Model], config: ImageConfig
) -> Modality:
    """Returns images, or sounds as spectrograms, and the names of their classes, as a modality."""
    names, _ = names_of(session, data.class_names, None, session.text_encoder())
    return image_modality(
        data,
        names,
        build,
        config,
        image_size=session.config.data.image_size,
        batch_size=session.config.train.batch_size,
    )


def read_modality(session: Session, original: DocumentData) -> tuple[Modality, DataReport, Facts]:
    """Returns documents as a modality, their report, and what became of their words."""
    config, preset = session.config, session.text_encoder()
    prepared = prepare_documents(original, scrub=config.documents.scrub)
    document_data: DocumentData = prepared.data
    names, warnings = names_of(session, document_data.class_names, config.scorer.class_descriptions, preset)
    documents, word_ids = document_modality(
        document_data,
        names,
        preset,
        text_config=config.text,
        config=config.scorer,
        seed=config.run.seed,
    )
    document_report = replace(document_data.report, warnings=(*document_data.report.warnings, *warnings))
    return documents, document_report, prepared.facts | facts_of_words(session, word_ids)


def names_of(
    session: Session, class_names: tuple[str, ...], described: Path | None, preset: str
) -> tuple[ClassTexts, list[str]]:
    """Encodes what classes are called, and what a file says of them; warns of one that says nothing."""
    names, targets = [readable(name) for name in class_names], np.arange(len(class_names))
    warnings = []
    if described:
        descriptions, of_class = read_descriptions(described, class_names)
        if not descriptions:
            warnings.append(f"`class_descriptions={described}` describes none of the classes and is left out")
        names, targets = names + descriptions, np.concatenate([targets, of_class])
    encoder_name = session.config.text.text_encoder
    return class_texts(names, targets, class_names, preset, session.trainer, called=encoder_name), warnings


def facts_of_words(session: Session, numbered: Mapping[str, Numbered]) -> Facts:
    """Tells what is cut of the documents of each split, and what of them is not known."""
    facts: Facts = {"longest document that is read, in words": session.config.text.sequence_length}
    for split, words in numbered.items():
        facts[f"{split} documents that were cut there"] = words.cut
        facts[f"{split} documents without a word that is known"] = words.unknown
    return facts | report_word_ids(session, numbered["test"])

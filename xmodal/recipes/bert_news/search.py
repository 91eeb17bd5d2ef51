"""What a search may choose of a classifier of documents."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from xmodal.config.experiments import SEARCHED_TEXTS
from xmodal.data.documents import DocumentSplit
from xmodal.evaluation.transferability import log_evidence
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.bert_news.baselines import DocumentTrainings
from xmodal.recipes.search import adapt_run
from xmodal.recipes.search.images import stratified_sample, time_reading, upper_layers
from xmodal.recipes.search.ledger import Trial
from xmodal.recipes.search.space import COMPARED, LEARNING, RUNGS, Arm, Space, Values, values_of
from xmodal.tasks.labelling import SEVERAL_LABELS
from xmodal.tasks.text_classifier import TextClassifier

LENGTHS = (32, 64, 128, 256, 512)
# Documents that are read once more, to tell what starting takes.
FEW = 64
# Learning rate and layer decay, lower for more of the encoder.
ALL, CAREFUL, BOLD, HALF, HEAD = (1e-4, 0.9), (5e-5, 1.0), (2e-4, 0.9), (3e-4, 1.0), (3e-3, 1.0)


def adapt_trainings(trainings: DocumentTrainings) -> DocumentTrainings:
    """Returns trainings with the flags that a search finds for the documents, see `adapt_run`."""
    if trainings.labelling is SEVERAL_LABELS:
        return trainings
    return replace(trainings, session=adapt_run(trainings.session, lambda: document_space(trainings)))


def document_space(trainings: DocumentTrainings) -> Space:
    """Returns what may be chosen of the BERT of a run on documents."""
    session, data = trainings.session, trainings.data
    config = session.config
    start = {name: config.value(name) for name in SEARCHED_TEXTS.split()}
    trainer = replace(session.trainer, checkpoints=None, on_epoch=None, log=lambda line: None)
    validation = _subset(data.validation, stratified_sample(data.validation.labels, COMPARED))
    trial_trainings = replace(
        trainings,
        session=replace(session, trainer=trainer),
        data=replace(data, validation=validation),
    )
    return Space(
        noun="documents",
        examples=len(data.train),
        validation=len(validation),
        start=start,
        fixed=frozenset(config.search.fixed),
        looks=[{"sequence_length": length} for length in LENGTHS],
        cost=lambda values: ("", float(values["sequence_length"])),
        look=partial(_look, trial_trainings),
        arms=partial(_arms, trial_trainings, start),
        train=partial(_train, trial_trainings),
        epochs="text_epochs",
        rungs=(start["text_epochs"],) if "text_epochs" in config.search.fixed else RUNGS,
        most_epochs=12,
        groups=[(name,) for name in start if name != "text_epochs"],
    )


def _subset(split: DocumentSplit, positions: np.ndarray) -> DocumentSplit:
    return replace(
        split,
        texts=split.texts[positions],
        labels=split.labels[positions],
        ids=tuple(split.ids[position] for position in positions),
        shares=split.shares_at(positions),
    )


def _look(
    trainings: DocumentTrainings, values: Values, count: int
) -> tuple[float, list[tuple[Values, float]]]:
    """Scores the vectors of an encoder that reads so many tokens."""
    trainer, train = trainings.session.trainer, trainings.data.train
    with trainer.scope():
        encoder = text_encoder(trainings.preset, values["sequence_length"])
    classifier = TextClassifier(encoder, encoder.model)
    positions = stratified_sample(train.labels, count)
    # In any order: which few are read first tells nothing then.
    positions = np.random.default_rng(0).permutation(positions)
    pace, vectors = time_reading(
        lambda indices: classifier.vectors(train.texts[indices], trainer), positions, FEW
    )
    return pace, [({}, log_evidence(vectors, train.labels[positions]))]


def _arms(trainings: DocumentTrainings, start: Values, looks: Sequence[Trial]) -> list[Arm]:
    """Returns what is trained: the flags as they are, and more or less of the encoder."""
    passes = 1.0 if start["text_trainable"] == "head" else LEARNING
    start_arms = [Arm({}, passes, look) for look in looks if not look.flags]
    with trainings.session.trainer.scope():
        encoder = text_encoder(trainings.preset, start["sequence_length"])
    _, half = upper_layers(encoder.model)

    def make_arm(look: Trial, trainable: str, rates: tuple[float, float], passes: float = LEARNING) -> Arm:
        rate, decay = rates
        flags = {"text_trainable": trainable, "text_learning_rate": rate, "layer_decay": decay}
        return Arm({**values_of(look.flags), **flags}, passes, look)

    best = looks[0]
    return [
        *start_arms,
        make_arm(best, "all", ALL),
        make_arm(best, half, HALF),
        make_arm(best, "head", HEAD, 1.0),
        make_arm(best, "all", BOLD),
        *(make_arm(look, "all", ALL) for look in looks[1:2]),
        make_arm(best, "all", CAREFUL),
    ]


def _train(
    trainings: DocumentTrainings, values: Values, epochs: int, count: int
) -> tuple[float, float, float]:
    """Trains a BERT on some of the documents, as `Space` has it."""
    text = trainings.session.config.with_values({**values, "text_epochs": epochs}).text
    positions = stratified_sample(trainings.data.train.labels, count)
    classifier = trainings.train("search", text=text, positions=positions)
    history = classifier.history
    assert history is not None
    # The first epoch waits for TensorFlow to start.
    seconds = min((entry["seconds"] for entry in history.epochs), default=0.0) / count
    return history.best["val_accuracy"], history.best["val_loss"], seconds

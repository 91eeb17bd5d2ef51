"""BERT on documents from random weights: what shows what the transfer of its own weights is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from xmodal.config.text import TextConfig
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.metrics import HeldOut
from xmodal.recipes.text_training import text_scratch_protocol
from xmodal.recipes.transfer_worth import Worth
from xmodal.runs.session import Session
from xmodal.tasks.labelling import ONE_LABEL, SEVERAL_LABELS, Labelling
from xmodal.tasks.similarity_classifier import epochs_for, subset
from xmodal.tasks.text_classifier import TextClassifier, TextExamples, merge, train_text_classifier
from xmodal.training.baselines import (
    FROM_SCRATCH,
    RANDOM_FROZEN,
    RANDOM_WEIGHTS,
    Attempt,
    best_on_validation,
    from_scratch,
)


@dataclass(frozen=True)
class DocumentTrainings:
    """Trains and runs a BERT on the documents of a run.

    Attributes:
        session: the run.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        data: documents as BERT is to read them.
        labelling: whether a document has one label.
    """

    session: Session
    preset: str
    data: DocumentData
    labelling: Labelling = ONE_LABEL

    def examples(self, positions: np.ndarray | slice = slice(None), noise: float = 0.0) -> TextExamples:
        """Returns the distinct pairs of text and class among training documents, all of them by default."""
        train = self.data.train
        return replace(merge(train.texts[positions], train.targets[positions]), noise=noise)

    @property
    def validation(self) -> TextExamples:
        """Those of the validation documents."""
        return merge(self.data.validation.texts, self.data.validation.targets)

    def train(
        self,
        name: str,
        *,
        text: TextConfig | None = None,
        positions: np.ndarray | slice = slice(None),
        patience: int | None = None,
        noise: float = 0.0,
        weights: Literal["preset", "none"] = "preset",
    ) -> TextClassifier:
        """Trains a BERT.

        Args:
            name: what progress, history and checkpoints call it.
            text: the protocol, by default that of the flags; so for `patience`.
            positions: of the training documents, all of them by default.
            patience: epochs without a lower validation loss before training stops.
            noise: the highest rate of typing errors, as `TextExamples` has it.
            weights: as `train_text_classifier` takes them.
        """
        trainer = self.session.trainer
        text = text or self.session.config.text
        if self.labelling is SEVERAL_LABELS:
            # A weight of its class is nothing that an example of several has.
            text = replace(text, class_weights="none")
        return train_text_classifier(
            self.preset,
            self.examples(positions, noise),
            len(self.data.class_names),
            text,
            trainer.with_options(patience=patience) if patience else trainer,
            name=name,
            validation=self.validation,
            weights=weights,
            loss=self.labelling.loss,
        )

    @property
    def truth(self) -> HeldOut:
        """What answers for the validation and the test documents are compared with."""
        return HeldOut(self.labelling.truth(self.data.validation), self.labelling.truth(self.data.test))

    def logits(self, classifier: TextClassifier, name: str, part: str) -> np.ndarray:
        """Returns the logits (N, C) of the "validation" or the "test" documents."""
        texts = getattr(self.data, part).texts
        return classifier.logits(texts, self.session.trainer, name=f"{name}: {part}")

    def evaluate(self, name: str, classifier: TextClassifier, note: str, seconds: float) -> CalibratedResult:
        """Asks a classifier about the validation documents, which calibrate it, and the test documents."""
        data = self.data
        logits = HeldOut(*(self.logits(classifier, name, part) for part in ("validation", "test")))
        return self.labelling.calibrated(
            name, logits, self.truth, data.class_names, note=note, seconds=seconds
        )


def protocol_name(text: TextConfig) -> str:
    """Returns what BERT's protocol with random weights is called."""
    return RANDOM_FROZEN if text.text_trainable == "head" else RANDOM_WEIGHTS


def train_from_scratch(
    trainings: DocumentTrainings, bert: TextClassifier
) -> tuple[Attempt[TextClassifier], tuple[Attempt[TextClassifier], ...]]:
    """Trains all layers from random weights within the budget of a BERT, see `baselines.from_scratch`."""
    config = trainings.session.config
    assert bert.history is not None

    def attempt(rate: float, passes: int):
        text = text_scratch_protocol(config.text, rate, passes)
        stage = f"{FROM_SCRATCH}: rate {rate:g}, passes {passes}"
        classifier = trainings.train(stage, text=text, patience=passes, weights="none")
        return classifier.history, classifier

    return from_scratch(
        attempt,
        rates=config.train.scratch_learning_rates,
        passes=config.text.text_epochs,
        seconds=bert.history.seconds,
        trainer=trainings.session.trainer,
    )


def worth_of(trainings: DocumentTrainings, count: int, rate: float) -> Worth:
    """Trains with and without the transferred weights on at most `count` documents of each class.

    Epochs and patience are longer for both by the rule of `epochs_for`. Without transfer there are the same
    protocol and a training from scratch, and the validation split says which of them counts.

    Args:
        trainings: what trainings share.
        count: of documents.
        rate: the peak rate from scratch.
    """
    config, labels = trainings.session.config, trainings.data.train.labels
    positions = subset(labels, np.arange(len(trainings.data.class_names)), count, config.run.seed)
    scaled_epochs = partial(epochs_for, whole=len(labels), part=len(positions))
    text = replace(
        config.text,
        text_epochs=scaled_epochs(config.text.text_epochs),
        text_head_epochs=scaled_epochs(config.text.text_head_epochs),
    )
    train_few = partial(trainings.train, positions=positions)
    patience = scaled_epochs(config.train.patience)
    scratch_text = text_scratch_protocol(text, rate, text.text_epochs)
    amount, protocol = f"{count} a class", protocol_name(text)
    bert = train_few(f"bert, {amount}", text=text, patience=patience)
    without = {
        protocol: train_few(f"{protocol}, {amount}", text=text, patience=patience, weights="none"),
        FROM_SCRATCH: train_few(
            f"{FROM_SCRATCH}, {amount}", text=scratch_text, patience=text.text_epochs, weights="none"
        ),
    }
    best = better(trainings, without, amount)
    with_transfer, without_transfer = (
        right_answers(trainings, trainings.logits(classifier, f"{name}, {amount}", "test"))
        for name, classifier in (("bert", bert), (best, without[best]))
    )
    trainings.session.clock.log(
        f"{amount}: {with_transfer.mean():.1%}, without transfer {without_transfer.mean():.1%} ({best})"
    )
    return Worth(count, len(positions), with_transfer, without_transfer, best)


def better(trainings: DocumentTrainings, without: Mapping[str, TextClassifier], amount: str) -> str:
    """Returns which of several classifiers answers best for the validation documents."""
    logits = {
        name: trainings.logits(item, f"{name}, {amount}", "validation") for name, item in without.items()
    }
    return best_on_validation(logits, trainings.data.validation.labels)


def right_answers(trainings: DocumentTrainings, logits: np.ndarray) -> np.ndarray:
    """Tells of each test document (N,) whether logits (N, C) name its class."""
    return logits.argmax(axis=1) == trainings.data.test.labels

"""BERT on documents from random weights: what shows what the transfer of its own weights is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xmodal.config.text import TextConfig
from xmodal.data.documents import DocumentData
from xmodal.recipes.transfer_worth import Worth
from xmodal.runs.session import Job
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
class Bench:
    """What the trainings of a run share.

    Attributes:
        job: the run.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        data: documents as BERT is to read them.
    """

    job: Job
    preset: str
    data: DocumentData

    def examples(self, positions: np.ndarray | slice = slice(None)) -> TextExamples:
        """Returns the distinct pairs of text and class among training documents, all of them by default."""
        return merge(self.data.train.texts[positions], self.data.train.targets[positions])

    @property
    def validation(self) -> TextExamples:
        """Those of the validation documents."""
        return merge(self.data.validation.texts, self.data.validation.targets)

    def trained(
        self,
        stage: str,
        *,
        text: TextConfig | None = None,
        positions: np.ndarray | slice = slice(None),
        patience: int | None = None,
        **options,
    ) -> TextClassifier:
        """Trains a BERT.

        Args:
            stage: what progress, history and checkpoints call it.
            text: the protocol, by default that of the flags; so for `patience`.
            positions: of the training documents, all of them by default.
            patience: epochs without a lower validation loss before training stops.
            options: noise and weights, as `train_text_classifier` takes them.
        """
        config = self.job.config
        return train_text_classifier(
            self.preset,
            self.examples(positions),
            len(self.data.class_names),
            config=text or config.text,
            seed=config.run.seed,
            strategy=self.job.strategy,
            stage=stage,
            validation=self.validation,
            patience=patience or config.image.patience,
            checkpoints=self.job.checkpoints,
            training=config.train,
            **options,
        )

    def logits(self, classifier: TextClassifier, stage: str, part: str) -> np.ndarray:
        """Returns the logits (N, C) of the "validation" or the "test" documents."""
        return classifier.logits(
            getattr(self.data, part).texts,
            self.job.strategy,
            stage=f"{stage}: {part}",
            checkpoints=self.job.checkpoints,
        )


def protocol_name(text: TextConfig) -> str:
    """Returns what BERT's protocol with random weights is called."""
    return RANDOM_FROZEN if text.text_trainable == "head" else RANDOM_WEIGHTS


def train_from_scratch(
    bench: Bench, bert: TextClassifier
) -> tuple[Attempt[TextClassifier], tuple[Attempt[TextClassifier], ...]]:
    """Trains all layers from random weights within the budget of a BERT, see `baselines.from_scratch`."""
    config = bench.job.config
    assert bert.history is not None

    def attempt(rate: float, passes: int):
        text = scratch_protocol(config.text, rate, passes)
        stage = f"{FROM_SCRATCH}: rate {rate:g}, passes {passes}"
        trained = bench.trained(stage, text=text, patience=passes, weights="none")
        return trained.history, trained

    return from_scratch(
        attempt,
        rates=config.train.scratch_learning_rates,
        passes=config.text.text_epochs,
        seconds=bert.history.seconds,
        strategy=bench.job.strategy,
    )


def scratch_protocol(text: TextConfig, rate: float, passes: int) -> TextConfig:
    """Returns how all layers are trained from scratch: at one rate, since none of them knows anything yet."""
    return replace(
        text,
        text_trainable="all",
        text_head_epochs=0,
        layer_decay=1.0,
        text_learning_rate=rate,
        text_epochs=passes,
    )


def worth_of(bench: Bench, count: int, rate: float) -> Worth:
    """Trains with and without the transferred weights on at most `count` documents of each class.

    Epochs and patience are longer for both by the rule of `epochs_for`. Without transfer there are the same
    protocol and a training from scratch, and the validation split says which of them counts.

    Args:
        bench: what trainings share.
        count: of documents.
        rate: the peak rate from scratch.
    """
    config, labels = bench.job.config, bench.data.train.labels
    positions = subset(labels, np.arange(len(bench.data.class_names)), count, config.run.seed)
    longer = partial(epochs_for, whole=len(labels), part=len(positions))
    text = replace(
        config.text,
        text_epochs=longer(config.text.text_epochs),
        text_head_epochs=longer(config.text.text_head_epochs),
    )
    few = partial(bench.trained, positions=positions)
    patience = longer(config.image.patience)
    scratch = scratch_protocol(text, rate, text.text_epochs)
    amount, same = f"{count} a class", protocol_name(text)
    bert = few(f"bert, {amount}", text=text, patience=patience)
    without = {
        same: few(f"{same}, {amount}", text=text, patience=patience, weights="none"),
        FROM_SCRATCH: few(
            f"{FROM_SCRATCH}, {amount}", text=scratch, patience=text.text_epochs, weights="none"
        ),
    }
    best = better(bench, without, amount)
    with_it, without_it = (
        right_answers(bench, bench.logits(classifier, f"{name}, {amount}", "test"))
        for name, classifier in (("bert", bert), (best, without[best]))
    )
    bench.job.clock.say(f"{amount}: {with_it.mean():.1%}, without transfer {without_it.mean():.1%} ({best})")
    return Worth(count, len(positions), with_it, without_it, best)


def better(bench: Bench, without: Mapping[str, TextClassifier], amount: str) -> str:
    """Returns which of several classifiers answers best for the validation documents."""
    logits = {name: bench.logits(item, f"{name}, {amount}", "validation") for name, item in without.items()}
    return best_on_validation(logits, bench.data.validation.labels)


def right_answers(bench: Bench, logits: np.ndarray) -> np.ndarray:
    """Tells of each test document (N,) whether logits (N, C) name its class."""
    return logits.argmax(axis=1) == bench.data.test.labels

"""How models are trained and run: one object that carries what is the same for all models of a run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.console import log
from xmodal.data.batches import Batches
from xmodal.data.images import ImageSplit
from xmodal.data.rows import ArrayShards
from xmodal.training import feature_cache, loop, prediction
from xmodal.training.checkpoint import Checkpoints, State
from xmodal.training.examples import Examples, labelled_batches, unlabelled_batches
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.losses import per_example
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.progress import History, newest
from xmodal.training.steps import Adversary, Loss
from xmodal.training.strategy import workers


@dataclass(frozen=True)
class Trainer:
    """Trains and runs models on the devices of a strategy, and keeps what is done under a name.

    Attributes:
        config: optimizer, schedule, gradient accumulation and what else all trainings share. Models have the
            precision of `keras.config.set_dtype_policy`; with float16 the one here scales the loss.
        seed: of initial weights within `scope`, and of the order of examples.
        strategy: the tf.distribute strategy that models are built and run in; by default the one of the
            scope that the trainer is made in.
        checkpoints: where trainings, predictions and `once` keep their state by name: what was interrupted
            goes on, what was finished is not computed again. None keeps nothing.
        cache: where features of frozen backbones are kept for other runs, None for nowhere.
        log: where lines about progress go.
        on_epoch: is told the name of a training and the entry of its history when an epoch ends.

    Example:
        >>> trainer = Trainer(seed=1)
        >>> with trainer.scope():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> inputs, labels = np.eye(4, dtype="float32"), np.array([0, 1, 2, 0])
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> history = trainer.fit(model, (inputs, labels), loss=loss, learning_rate=0.1, epochs=20)
        >>> trainer.predict(model, inputs).argmax(axis=1)
        array([0, 1, 2, 0])
    """

    config: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    strategy: tf.distribute.Strategy = field(default=None)
    checkpoints: Checkpoints | None = None
    cache: FeatureCache | None = None
    log: Callable[[str], None] = log
    on_epoch: Callable[[str, dict[str, float]], None] | None = None

    def __post_init__(self) -> None:
        if self.strategy is None:
            object.__setattr__(self, "strategy", tf.distribute.get_strategy())

    def with_options(self, **options: Any) -> "Trainer":
        """Returns the same with other values of some options of its config, such as `patience=3`."""
        return replace(self, config=replace(self.config, **options))

    def alone(self) -> "Trainer":
        """Returns the same in this process alone: for what one process does while the others wait for it."""
        # A single process keeps what was traced.
        return self if workers(self.strategy).workers == 1 else replace(self, strategy=None)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Sets the seed, and enters the strategy's scope: models are built, or loaded, within it."""
        with self.strategy.scope():
            keras.utils.set_random_seed(self.seed)
            yield

    def fit(
        self,
        model: keras.Model,
        train: Examples | Callable[[int], Examples],
        *,
        loss: Loss | keras.losses.Loss | str,
        epochs: int,
        learning_rate: float = 1e-3,
        optimizer: keras.optimizers.Optimizer | Callable[[int], keras.optimizers.Optimizer] | None = None,
        name: str = "",
        batch_size: int | None = None,
        validation: Examples | None = None,
        patience: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        metrics: Sequence[keras.metrics.Metric] = (),
        adversary: Adversary | None = None,
        report_accuracy: bool | None = None,
    ) -> History:
        """Trains a model that was built in `scope`, and returns the history: `epochs`, a dict for each.

        Args:
            model: inputs -> outputs (B, ...), for classifiers logits (B, C).
            train: arrays (inputs, labels) or (inputs, labels, weights), shuffled anew in each epoch; or a
                tf.data.Dataset of batches of them; or a function of the epoch (from 0) that returns either.
            loss: of training and validation: a Keras loss, its name, or labels, outputs -> losses (B,).
            epochs, learning_rate: the most passes, the peak rate of the optimizer that `config` describes.
            optimizer: in its place a Keras optimizer, which is copied, or a function of the number of steps.
            name: what progress and checkpoints call it; "" keeps nothing.
            batch_size: of arrays, by default that of `config`.
            validation: held-out examples, as `train` has them.
            patience: epochs without a lower validation loss before it stops, by default of `config`; the best
                weights, of the start too, are restored then. 0 keeps the last, at the end.
            report_accuracy: outputs are logits of classes; by default as the loss says.
        """
        losses, size = per_example(loss, report_accuracy), batch_size or self.config.batch_size

        def examples(epoch: int) -> tf.data.Dataset | Batches:
            data = train(epoch) if callable(train) else train
            return labelled_batches(data, size, shuffle_seed=(self.seed, epoch))

        history = loop.fit(
            model,
            examples,
            loss=losses.train,
            validation_loss=losses.validation,
            report_accuracy=losses.report_accuracy,
            optimizer=optimizer_maker(self.config, learning_rate, optimizer),
            epochs=epochs,
            strategy=self.strategy,
            stage=name,
            validation=None if validation is None else labelled_batches(validation, size),
            patience=(self.config.patience if patience is None else patience) or None,
            callbacks=callbacks,
            metrics=metrics,
            checkpoints=self.checkpoints if name else None,
            config=self.config,
            adversary=adversary,
            on_epoch=self.on_epoch,
        )
        return self._log_early_stop(history)

    def _log_early_stop(self, history: History) -> History:
        """Says of a training with a name when it stopped because it was good enough."""
        if history.stage and history.reached:
            accuracy = f"{history.best['val_accuracy']:.1%} on validation"
            self.log(f"{history.stage}: stopped at {accuracy}, until={self.config.until:g}")
        return history

    def predict(
        self,
        model: Callable,
        inputs: tf.data.Dataset | Batches | Any,
        *,
        name: str = "",
        batch_size: int = 32,
        compiled: bool = False,
    ) -> np.ndarray:
        """Returns the outputs (N, ...) of a model, in order.

        Args:
            model: inputs -> outputs (B, ...).
            inputs: batches of inputs, or of tuples that begin with them; or arrays (N, ...).
            name: what progress and checkpoints call it; "" keeps nothing.
            batch_size: of arrays.
            compiled: by XLA, for batches of few shapes.

        Raises:
            UserError: when what is kept belongs to another prediction or cannot be used.
        """
        batches = unlabelled_batches(inputs, batch_size)
        checkpoints = self.checkpoints if name else None
        return prediction.predict(
            model, batches, self.strategy, stage=name, checkpoints=checkpoints, compiled=compiled
        )

    def features(
        self, backbone: keras.Model, split: ImageSplit, batches: Batches, *, facts: dict[str, Any], name: str
    ) -> ArrayShards:
        """Returns what a frozen backbone makes of a split (N, D), computed once for all that ask the same.

        Args:
            backbone: images (B, H, W, 3) -> features (B, D).
            split: the N images that `batches` brings.
            batches: batches of images (B, H, W, 3), in the order of the split.
            facts: what else `batches` depends on: sizes, augmentation, seeds; JSON values.
            name: what progress and, without a cache, checkpoints call it.
        """
        if self.cache is None:
            return ArrayShards([self.predict(backbone, batches, name=name)])
        return feature_cache.features(
            backbone, split, batches, self.strategy, cache=self.cache, facts=facts, stage=name, log=self.log
        )

    def once(self, name: str, compute: Callable[[], State]) -> State:
        """Returns what is computed, or was under this name before the run was interrupted.

        Of several processes each computes, and the chief keeps.
        """
        if self.checkpoints is None:
            return compute()
        checkpoint = self.checkpoints.stage(name)
        newest_state = newest(checkpoint, self.strategy)
        if newest_state:
            return newest_state[0]
        state = compute()
        checkpoint.finish(state)
        return state

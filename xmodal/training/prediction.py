"""Outputs of a model, and its loss on a validation split, on every device of a strategy."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.batches import Batches
from xmodal.kernels.convolutions import call_fast, identity_convolutions
from xmodal.training.checkpoint import Checkpoints, State
from xmodal.training.losses import cross_entropy
from xmodal.training.progress import foreign, newest
from xmodal.training.replicas import map_over_replicas, stream_over_replicas
from xmodal.training.steps import Loss, hits


def predict(
    model: Callable,
    batches: tf.data.Dataset | Batches,
    strategy: tf.distribute.Strategy,
    *,
    stage: str = "",
    checkpoints: Checkpoints | None = None,
    compiled: bool = False,
) -> np.ndarray:
    """Runs a model over a data set, in order.

    Args:
        model: inputs -> outputs (B, ...).
        batches: batches of inputs, or of tuples that begin with them.
        strategy: the tf.distribute strategy that the model was built in.
        stage: name on the progress bar, and in the checkpoints; "" shows none.
        checkpoints: where the outputs are saved: a finished prediction is not run again.
        compiled: as `outputs_streamed` has it.

    Returns:
        The outputs (N, ...) as one array.

    Raises:
        UserError: when a checkpoint belongs to another prediction or cannot be used.
    """
    checkpoint = checkpoints.stage(stage) if checkpoints else None
    state, _ = (newest(checkpoint, strategy) if checkpoint else None) or (None, False)
    facts = {"stage": stage, "batches": int(batches.cardinality())}
    if state:
        if state.facts != facts:
            raise foreign(stage, f"it is of {state.facts}")
        return state.arrays["outputs"]

    run = outputs_streamed(model, strategy, compiled=compiled)
    array = np.concatenate([outputs for (outputs,) in run(batches, stage)])
    if checkpoint:
        checkpoint.finish(State({"outputs": array}, facts))
    return array


def outputs_streamed(
    model: Callable, strategy: tf.distribute.Strategy, *, frozen: bool = False, compiled: bool = False
) -> Callable[..., Iterator[tuple[np.ndarray, ...]]]:
    """Returns what runs a model, as in inference, and yields its outputs (B, ...).

    See `replicas.stream_over_replicas`.

    A Keras model keeps it, so that it is traced once however often it is asked.

    Args:
        model: inputs -> outputs.
        strategy: the tf.distribute strategy that it was built in.
        frozen: its weights stay as they are while it runs: convolutions that change nothing are left out.
        compiled: by XLA, which takes seconds for each shape of a batch that comes.
    """
    is_model = isinstance(model, keras.Model)
    passing_layers = identity_convolutions(model) if frozen and is_model else ()

    call = partial(call_fast, model, training=False, passing=passing_layers)
    if compiled:
        call = tf.function(call, jit_compile=True)

    def outputs(batch):
        return (call(batch[0] if isinstance(batch, tuple) else batch),)

    # Keras tracks attributes that are set the usual way.
    functions = model.__dict__.setdefault("_streamed_outputs", {}) if is_model else {}
    kind = (strategy, compiled, *(layer.name for layer in passing_layers))
    return functions.setdefault(kind, stream_over_replicas(outputs, strategy))


def validator(
    model: Callable,
    strategy: tf.distribute.Strategy,
    metrics: Sequence[keras.metrics.Metric] = (),
    loss: Loss | None = None,
    report_accuracy: bool = True,
) -> Callable[..., dict[str, float]]:
    """Returns a function of (inputs, labels, weights) batches that gives val_loss, and val_accuracy if asked.

    Both are weighted means. Keras metrics of labels, logits and weights are updated in every process with
    the outputs of all devices, so that they need not know of any. The function is traced once, however
    often it is called. It also takes what tells between two batches whether to raise `Stopped`.

    Args:
        model: inputs -> outputs.
        strategy: the tf.distribute strategy.
        metrics: Keras metrics of labels (N, ...) and outputs (N, ...).
        loss: (labels, outputs) -> losses (B,), by default the cross-entropy of logits, in nats.
        report_accuracy: outputs are logits of classes.
    """
    loss = loss or cross_entropy()

    def outcomes(batch):
        inputs, labels, weights = batch
        outputs = tf.cast(call_fast(model, inputs, training=False), tf.float32)
        right = hits(labels, outputs) if report_accuracy else tf.zeros_like(weights)
        return loss(labels, outputs), right, weights, *((labels, outputs) if metrics else ())

    run = map_over_replicas(outcomes, strategy)

    def validate(batches, stopped: Callable[[], bool] = lambda: False) -> dict[str, float]:
        losses, right, weights, *answers = run(batches, stopped=stopped)
        for metric in metrics:
            metric.reset_state()
            metric.update_state(*answers, sample_weight=weights)
        accuracy = {"val_accuracy": float(np.average(right, weights=weights))} if report_accuracy else {}
        return {
            "val_loss": float(np.average(losses, weights=weights)),
            **accuracy,
            **{f"val_{metric.name}": float(metric.result()) for metric in metrics},
        }

    return validate

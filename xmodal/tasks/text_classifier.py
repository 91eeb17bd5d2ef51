"""Texts -> logits of the target question: BERT with a trained head, or with similarities alone."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.text import TextConfig
from xmodal.data.batches import array_batches
from xmodal.kernels.activations import compiled_activations
from xmodal.kernels.optimizer_step import with_layer_rates
from xmodal.models.heads import Similarity, text_classifier
from xmodal.models.text_encoder import TextEncoder, text_encoder, with_random_weights
from xmodal.models.trainable import set_trainable
from xmodal.tasks.frozen_layers import run_frozen_layers
from xmodal.text.length_buckets import length_order, token_batches, token_lengths
from xmodal.text.typos import add_typos, training_rates
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import layer_scales, optimizer_maker
from xmodal.training.progress import History
from xmodal.training.replicas import map_over_replicas
from xmodal.training.steps import Loss, worth_compiling
from xmodal.training.trainer import Trainer

# Of AdamW, for a head alone on a frozen encoder.
HEAD_LEARNING_RATE = 1e-3
# In the place of a sum of no weights.
TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class TextExamples:
    """Distinct pairs of text and target, each with the weight of its occurrences.

    Attributes:
        texts: str (U,).
        targets: int (U,), distributions over the classes (U, C), or 0 and 1 of several labels (U, C).
        weights: float (U,).
        noise: the highest rate of typing errors that they are learned with, see `training_rates`: other ones
            in each epoch, as the texts are for a frozen encoder and once more with errors.
    """

    texts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    noise: float = 0.0

    def mistyped(self, seed: Sequence[int]) -> np.ndarray:
        """Returns the texts (U,) with typing errors, the same for the same seed."""
        return add_typos(self.texts, training_rates(len(self.texts), self.noise, seed), seed)


@dataclass(frozen=True)
class TextClassifier:
    """An encoder and a model on it.

    Attributes:
        encoder: the tokenizer's side: strings (B,) -> the model's inputs.
        model: those inputs -> logits (B, C).
        history: of its training, None when it had none.

    `train_text_classifier` makes one; with a Keras model of your own on `text_encoder(...)` you can make it
    yourself.

    Example:
        >>> encoder = text_encoder("bert", sequence_length=16)
        >>> model = keras.Model(encoder.model.input, keras.layers.Dense(2)(encoder.model.output))
        >>> classifier = TextClassifier(encoder, model)
        >>> classifier.logits(["a photo of a cat", "a photo of a bird", "a tree"], Trainer()).shape
        (3, 2)
    """

    encoder: TextEncoder
    model: keras.Model
    history: History | None = None

    def logits(
        self,
        texts: np.ndarray | Sequence[str],
        trainer: Trainer,
        *,
        batch_size: int = 64,
        name: str = "",
    ) -> np.ndarray:
        """Returns logits (N, C) for texts; each distinct text is read by BERT once.

        Args:
            texts: (N,), or P wordings of each (N, P), whose logits are averaged.
            trainer: runs the model.
            batch_size: of texts.
            name: what progress and checkpoints call it; "" keeps nothing.
        """
        distinct_texts, index = np.unique(texts, return_inverse=True)
        tokens = self.encoder.padded(distinct_texts)
        logits = _outputs(self.model, tokens, trainer, name, batch_size)[index.ravel()]
        return logits.reshape(len(texts), -1, logits.shape[-1]).mean(axis=1)

    def vectors(self, texts: Iterable[str], trainer: Trainer) -> np.ndarray:
        """Returns what the encoder makes of texts (N,): (N, D)."""
        distinct_texts, index = np.unique(list(texts), return_inverse=True)
        return _outputs(self.encoder.model, self.encoder.padded(distinct_texts), trainer)[index]

    def reader(self, trainer: Trainer) -> Callable[[Iterable[str]], np.ndarray]:
        """Returns a function of texts (N,) that gives logits (N, C), for many calls: it is traced once."""

        def outputs(batch):
            return (self.model(batch[0], training=False),)

        run = map_over_replicas(outputs, trainer.strategy)

        def logits(texts: Iterable[str]) -> np.ndarray:
            tokens = self.encoder.padded(texts)
            order = length_order(token_lengths(tokens), batch_size=64)
            (rows,) = run(token_batches(tokens, batch_size=64, order=order))
            return rows[np.argsort(order)]

        return logits


def merge(texts: Iterable[str], targets: np.ndarray, weights: np.ndarray | None = None) -> TextExamples:
    """Merges identical (text, target) pairs into weighted examples, in a fixed order.

    The weighted mean loss over the merged examples, and its gradient, are those over all pairs. As
    cross-entropy is linear in the target, that holds for the mean of distributions too: of these every text
    has one.

    Args:
        texts: str (N,).
        targets: int (N,), or distributions over the classes (N, C).
        weights: float (N,), ones by default.
    """
    texts = list(texts)
    weights = np.ones(len(texts)) if weights is None else weights
    if np.ndim(targets) == 2:
        return _mean_targets(texts, targets, weights)
    total: dict[tuple[str, int], float] = {}
    for text, target, weight in zip(texts, np.asarray(targets).tolist(), weights, strict=True):
        total[text, target] = total.get((text, target), 0.0) + weight
    pairs = sorted(total)
    return TextExamples(
        texts=np.array([text for text, _ in pairs], object),
        targets=np.array([target for _, target in pairs], np.int32),
        weights=np.array([total[pair] for pair in pairs], np.float32),
    )


def as_examples(examples: TextExamples | tuple[Any, ...]) -> TextExamples:
    """Returns examples as they are, or merges a tuple of texts, targets and, if there are any, weights."""
    return examples if isinstance(examples, TextExamples) else merge(*examples)


def _mean_targets(texts: list[str], targets: np.ndarray, weights: np.ndarray) -> TextExamples:
    sizes = [len(texts), len(targets), len(weights)]
    if len(set(sizes)) > 1:
        raise ValueError(f"texts, targets and weights must be as many. Received: {sizes}")
    distinct_texts, index = np.unique(np.array(texts, object), return_inverse=True)
    total = np.bincount(index, weights)
    sums = np.zeros((len(distinct_texts), targets.shape[1]))
    np.add.at(sums, index, targets * weights[:, None])
    return TextExamples(
        texts=distinct_texts,
        targets=(sums / np.maximum(total, TINY)[:, None]).astype(np.float32),
        weights=total.astype(np.float32),
    )


def balance_classes(examples: TextExamples, classes: int) -> TextExamples:
    """Gives every class that occurs the same weight in all, and the examples the mean weight that they had.

    An example of several classes counts for each by its share; the weights of these change its shares too.

    Args:
        examples: U of them.
        classes: the number of targets C.
    """
    soft = examples.targets.ndim == 2
    class_weights = (
        examples.weights.astype(np.float64) @ examples.targets
        if soft
        else np.bincount(examples.targets, examples.weights, minlength=classes)
    )
    factor = class_weights.sum() / (np.count_nonzero(class_weights) * np.maximum(class_weights, TINY))
    if not soft:
        weights = examples.weights * factor[examples.targets]
        return replace(examples, weights=weights.astype(np.float32))
    example_weights = np.maximum(examples.targets @ factor, TINY)
    return replace(
        examples,
        targets=(examples.targets * factor / example_weights[:, None]).astype(np.float32),
        weights=(examples.weights * example_weights).astype(np.float32),
    )


def train_text_classifier(
    preset: str,
    examples: TextExamples | tuple[Any, ...],
    classes: int,
    config: TextConfig | None = None,
    trainer: Trainer | None = None,
    *,
    name: str = "text classifier",
    validation: TextExamples | tuple[Any, ...] | None = None,
    weights: Literal["preset", "none"] = "preset",
    loss: Loss | keras.losses.Loss | None = None,
) -> TextClassifier:
    """Trains a new head on a BERT encoder, and with it the encoder from the layer that the config names.

    Of a frozen encoder every text is read once, and the head learns on what is kept. With `text_head_epochs`
    a head learns like that first, so that its random weights do not distort what the encoder knows of
    texts unlike those trained on (Kumar et al. 2022, arXiv:2202.10054).

    Args:
        preset: the encoder, as `text_encoder` takes it.
        examples: texts (N,), targets (N,) or probabilities (N, C) and, if wanted, weights (N,).
        classes: the number of targets C.
        config: sequence length, what is trained, epochs, batch and rates; None for `TextConfig()`.
        trainer: trains it, by default `Trainer()`; its seed is that of the head, dropout, order and noise.
        name: what progress, history and checkpoints call it.
        validation: what to stop by, with the patience of the trainer, kept out of training; as `examples`.
        weights: of the encoder: the preset's own, or none, for random ones.
        loss: of logits, as `Trainer.fit` takes it; None for the cross-entropy.

    Raises:
        UserError: when the encoder cannot be fetched or read, or has no such layer as is to be trained.

    Example:
        >>> examples = ["a photo of a cat", "a photo of a dog"], np.array([0, 1])
        >>> config = TextConfig(sequence_length=16, text_epochs=1)
        >>> classifier = train_text_classifier("bert", examples, 2, config)
        >>> classifier.logits(["a photo of a cat"], Trainer()).shape, len(classifier.history.epochs)
        ((1, 2), 1)
    """
    config, trainer, loss = config or TextConfig(), trainer or Trainer(), loss or cross_entropy()
    examples, validation = as_examples(examples), None if validation is None else as_examples(validation)
    with trainer.scope():
        encoder = text_encoder(preset, config.sequence_length)
        if weights == "none":
            encoder = with_random_weights(encoder, examples.texts)
        model = text_classifier(encoder.model, classes)
        set_trainable(encoder.model, config.text_trainable, flag="text_trainable")
    if config.class_weights == "balanced":
        examples = balance_classes(examples, classes)
    classifier = TextClassifier(encoder, model, None)
    frozen = config.text_trainable == "head"
    if frozen or config.text_head_epochs:
        epochs, rate = config.text_head_epochs, HEAD_LEARNING_RATE
        head_config = config if frozen else replace(config, text_epochs=epochs, text_learning_rate=rate)
        head_name = name if frozen else f"{name}: head"
        history = _train_head(classifier, examples, validation, head_config, trainer, head_name, loss)
    if not frozen:
        history = _train_whole(classifier, examples, validation, config, trainer, name, loss)
    return replace(classifier, history=history)


def _train_whole(
    classifier: TextClassifier,
    examples: TextExamples,
    validation: TextExamples | None,
    config: TextConfig,
    trainer: Trainer,
    name: str,
    loss: Loss | keras.losses.Loss,
) -> History:
    """Trains an encoder and its head on texts, which typing noise changes in each epoch.

    What frozen layers make of texts that stay the same is computed once.
    """
    encoder, seed, size = classifier.encoder, trainer.seed, config.text_batch_size
    parts = {"train": encoder.padded(examples.texts)}
    if validation is not None:
        parts["validation"] = encoder.padded(validation.texts)
    model, inputs = classifier.model, parts
    if not examples.noise:
        model, inputs = run_frozen_layers(classifier.model, parts, trainer)

    @lru_cache(maxsize=1)
    def inputs_of(epoch: int) -> dict[str, np.ndarray]:
        return encoder.padded(examples.mistyped((seed, epoch))) if examples.noise else inputs["train"]

    def train_batches(epoch: int) -> tf.data.Dataset:
        tokens = inputs_of(epoch if examples.noise else 0)
        order = length_order(
            token_lengths(tokens), batch_size=size, window=config.length_window, shuffle_seed=(seed, epoch)
        )
        return token_batches(tokens, examples.targets, examples.weights, batch_size=size, order=order)

    def eval_batches(held_out: TextExamples) -> tf.data.Dataset:
        tokens = inputs["validation"]
        order = length_order(token_lengths(tokens), batch_size=2 * size)
        return token_batches(tokens, held_out.targets, held_out.weights, batch_size=2 * size, order=order)

    optimizer = optimizer_maker(trainer.config, config.text_learning_rate)
    if config.layer_decay != 1:
        optimizer = with_layer_rates(optimizer, layer_scales(classifier.model, config.layer_decay))
    steps = config.text_epochs * -(-len(examples.texts) // size)
    compiled = worth_compiling(model.trainable_variables, steps, trainer.config.jit)
    with compiled_activations(model) if compiled else nullcontext():
        return trainer.fit(
            model,
            train_batches,
            loss=loss,
            optimizer=optimizer,
            epochs=config.text_epochs,
            validation=None if validation is None else eval_batches(validation),
            # Fewer weights are kept than of a training of the whole model.
            name=name if model is classifier.model else f"{name}: upper layers",
        )


def _train_head(
    classifier: TextClassifier,
    examples: TextExamples,
    validation: TextExamples | None,
    config: TextConfig,
    trainer: Trainer,
    name: str,
    loss: Loss | keras.losses.Loss,
) -> History:
    """Trains a head on what the encoder, as it is, makes of the texts, and of the texts with typing noise."""
    encoder, size, seed = classifier.encoder, config.text_batch_size, trainer.seed
    if examples.noise:
        views = (examples.texts, examples.mistyped((seed, 0)))
        examples = TextExamples(
            np.concatenate(views), np.concatenate([examples.targets] * 2), np.tile(examples.weights, 2)
        )

    def vectors(part: TextExamples, what: str) -> tuple[np.ndarray, ...]:
        encoded = _outputs(encoder.model, encoder.padded(part.texts), trainer, f"{name}: {what}")
        return encoded, part.targets, part.weights

    train = vectors(examples, "vectors")
    held_out = None
    if validation is not None:
        held_out = array_batches(*vectors(validation, "validation vectors"), batch_size=1024)
    return trainer.fit(
        keras.Model(encoder.model.output, classifier.model.output, name="head"),
        lambda epoch: array_batches(*train, batch_size=size, shuffle_seed=(seed, epoch)),
        loss=loss,
        learning_rate=config.text_learning_rate,
        epochs=config.text_epochs,
        validation=held_out,
        name=name,
    )


def _outputs(
    model: keras.Model, tokens: dict[str, np.ndarray], trainer: Trainer, name: str = "", batch_size: int = 64
) -> np.ndarray:
    """Returns a model's outputs for tokenized texts, which it reads in the order of their lengths.

    XLA compiles it if it is told to, and never by itself. Measured with MiniLM on a processor whose
    products are oneDNN's, it takes as long in float32 then, and twice as long in bfloat16; only without
    oneDNN it gains a seventh. It compiles for 1 to 3 s for each length.
    """
    order = length_order(token_lengths(tokens), batch_size=batch_size)
    batches = token_batches(tokens, batch_size=batch_size, order=order)
    compiled = trainer.config.jit == "on"
    return trainer.predict(model, batches, name=name, compiled=compiled)[np.argsort(order)]


def zero_shot_classifier(
    preset: str,
    descriptions: Iterable[str],
    targets: np.ndarray,
    config: TextConfig,
    trainer: Trainer,
    encoder: TextEncoder | None = None,
) -> TextClassifier:
    """Builds P(c|x) = softmax of scaled cosines between a text and the descriptions; nothing is trained.

    Args:
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        descriptions: sentences (M,), at least one for each target.
        targets: the target of each description (M,), from 0 to C - 1.
        config: sequence length and similarity scale.
        trainer: in whose scope it is built, and that encodes the descriptions.
        encoder: the preset, where it was loaded in that scope before.
    """
    with trainer.strategy.scope():
        encoder = encoder or text_encoder(preset, config.sequence_length)
    vectors = _outputs(encoder.model, encoder.padded(descriptions), trainer)
    with trainer.strategy.scope():
        logits = Similarity(vectors, targets, config.similarity_scale, name="logits")(encoder.model.output)
        model = keras.Model(encoder.model.input, logits, name="zero_shot_classifier")
    return TextClassifier(encoder, model, None)

"""Texts -> logits of the target question: BERT with a trained head, or with similarities alone."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.text import TextConfig
from xmodal.config.training import TrainConfig
from xmodal.data.batches import array_batches
from xmodal.kernels.activations import compiled_activations
from xmodal.kernels.optimizer_step import with_layer_rates
from xmodal.models.heads import Similarity, text_classifier
from xmodal.models.text_encoder import TextEncoder, text_encoder, with_random_weights
from xmodal.models.trainable import set_trainable
from xmodal.text.length_buckets import length_order, token_batches, token_lengths
from xmodal.text.typos import mistyped, training_rates
from xmodal.training import loop
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import layer_scales, optimizer_maker
from xmodal.training.prediction import predict
from xmodal.training.progress import History
from xmodal.training.replicas import mapped

# Of AdamW, for a head alone on a frozen encoder.
HEAD_LEARNING_RATE = 1e-3
# In the place of a sum of no weights.
TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class TextExamples:
    """Distinct pairs of text and target, each with the weight of its occurrences.

    Attributes:
        texts: str (U,).
        targets: int (U,), or distributions over the classes (U, C).
        weights: float (U,).
    """

    texts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class TextClassifier:
    """An encoder and a model on it.

    Attributes:
        encoder: the tokenizer's side: strings (B,) -> the model's inputs.
        model: those inputs -> logits (B, C).
        history: of its training, None when it had none.
    """

    encoder: TextEncoder
    model: keras.Model
    history: History | None

    def logits(
        self,
        texts: np.ndarray,
        strategy: tf.distribute.Strategy,
        *,
        batch_size: int = 64,
        stage: str = "text: reading",
        checkpoints: Checkpoints | None = None,
    ) -> np.ndarray:
        """Returns logits for texts (N,) or for P wordings of each (N, P), whose logits are averaged.

        Each distinct text is read by BERT once.
        """
        distinct, place = np.unique(texts, return_inverse=True)
        read = _outputs(
            self.model, self.encoder.padded(distinct), strategy, stage, checkpoints, batch_size=batch_size
        )
        logits = read[place.ravel()]
        return logits.reshape(len(texts), -1, logits.shape[-1]).mean(axis=1)

    def vectors(self, texts: Iterable[str], strategy: tf.distribute.Strategy) -> np.ndarray:
        """Returns what the encoder makes of texts (N,): (N, D)."""
        distinct, place = np.unique(list(texts), return_inverse=True)
        return _outputs(self.encoder.model, self.encoder.padded(distinct), strategy, "", None)[place]

    def reader(self, strategy: tf.distribute.Strategy) -> Callable[[Iterable[str]], np.ndarray]:
        """Returns a function of texts (N,) that gives logits (N, C), for many calls: it is traced once."""

        def outputs(batch):
            return (self.model(batch[0], training=False),)

        run = mapped(outputs, strategy)

        def logits(texts: Iterable[str]) -> np.ndarray:
            tokens = self.encoder.padded(texts)
            order = length_order(token_lengths(tokens), batch_size=64)
            (read,) = run(token_batches(tokens, batch_size=64, order=order))
            return read[np.argsort(order)]

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
    merged = sorted(total)
    return TextExamples(
        texts=np.array([text for text, _ in merged], object),
        targets=np.array([target for _, target in merged], np.int32),
        weights=np.array([total[pair] for pair in merged], np.float32),
    )


def _mean_targets(texts: list[str], targets: np.ndarray, weights: np.ndarray) -> TextExamples:
    sizes = [len(texts), len(targets), len(weights)]
    if len(set(sizes)) > 1:
        raise ValueError(f"texts, targets and weights must be as many. Received: {sizes}")
    distinct, place = np.unique(np.array(texts, object), return_inverse=True)
    total = np.bincount(place, weights)
    sums = np.zeros((len(distinct), targets.shape[1]))
    np.add.at(sums, place, targets * weights[:, None])
    return TextExamples(
        texts=distinct,
        targets=(sums / np.maximum(total, TINY)[:, None]).astype(np.float32),
        weights=total.astype(np.float32),
    )


def balanced(examples: TextExamples, classes: int) -> TextExamples:
    """Gives every class that occurs the same weight in all, and the examples the mean weight that they had.

    An example of several classes counts for each by its share; the weights of these change its shares too.

    Args:
        examples: U of them.
        classes: the number of targets C.
    """
    soft = examples.targets.ndim == 2
    of_class = (
        examples.weights.astype(np.float64) @ examples.targets
        if soft
        else np.bincount(examples.targets, examples.weights, minlength=classes)
    )
    factor = of_class.sum() / (np.count_nonzero(of_class) * np.maximum(of_class, TINY))
    if not soft:
        weights = examples.weights * factor[examples.targets]
        return replace(examples, weights=weights.astype(np.float32))
    of_example = np.maximum(examples.targets @ factor, TINY)
    return replace(
        examples,
        targets=(examples.targets * factor / of_example[:, None]).astype(np.float32),
        weights=(examples.weights * of_example).astype(np.float32),
    )


def train_text_classifier(
    preset: str,
    examples: TextExamples,
    classes: int,
    *,
    config: TextConfig,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    validation: TextExamples | None = None,
    patience: int | None = None,
    checkpoints: Checkpoints | None = None,
    training: TrainConfig | None = None,
    noise: float = 0.0,
    weights: Literal["preset", "none"] = "preset",
) -> TextClassifier:
    """Trains a new head on a BERT encoder, and with it the encoder from the layer that the flags name.

    Of a frozen encoder every text is read once, and the head learns on what is kept. With `text_head_epochs`
    a head learns like that first, so that its random weights do not distort what the encoder knows of
    texts unlike those trained on (Kumar et al. 2022, arXiv:2202.10054).

    Args:
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        examples: what to learn.
        classes: the number of targets C.
        config: sequence length, what is trained, epochs, batch and rates.
        seed: of the head's weights, dropout and order.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        validation: what to stop by, kept out of training.
        patience: epochs without a lower validation loss before training stops.
        checkpoints: where its state is kept.
        training: optimizer, precision and what else is common to every training.
        noise: the highest rate of typing slips in what is learned from, see `training_rates`; other texts
            in each epoch, as they are for a frozen encoder and once more with slips.
        weights: of the encoder: the preset's own, or none, for random ones.
    """
    training = training or TrainConfig()
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        encoder = text_encoder(preset, config.sequence_length)
        if weights == "none":
            encoder = with_random_weights(encoder, examples.texts)
        model = text_classifier(encoder.model, classes)
        set_trainable(encoder.model, config.text_trainable, flag="text_trainable")
    if config.class_weights == "balanced":
        examples = balanced(examples, classes)
    lesson = _Lesson(
        encoder,
        model,
        examples,
        validation,
        config=config,
        noise=noise,
        seed=seed,
        optimizer=partial(optimizer_maker, training),
        jit=training.jit,
        fit=partial(
            loop.fit,
            loss=cross_entropy(),
            patience=patience if validation is not None else None,
            strategy=strategy,
            checkpoints=checkpoints,
            config=training,
        ),
        outputs=partial(_outputs, strategy=strategy, checkpoints=checkpoints),
    )
    if config.text_trainable == "head":
        return TextClassifier(encoder, model, _train_head(lesson, stage))
    if config.text_head_epochs:
        of_head = replace(config, text_epochs=config.text_head_epochs, text_learning_rate=HEAD_LEARNING_RATE)
        _train_head(replace(lesson, config=of_head), stage and f"{stage}: head")
    return TextClassifier(encoder, model, _train_whole(lesson, stage))


@dataclass(frozen=True)
class _Lesson:
    """What the training of a head and that of a whole classifier begin with."""

    encoder: TextEncoder
    model: keras.Model
    examples: TextExamples
    validation: TextExamples | None
    _: KW_ONLY
    config: TextConfig
    noise: float
    seed: int
    optimizer: Callable[[float], Callable]
    jit: str
    fit: Callable[..., History]
    outputs: Callable[..., np.ndarray]


def _with_slips(texts: np.ndarray, noise: float, seed: Sequence[int]) -> np.ndarray:
    return mistyped(texts, training_rates(len(texts), noise, seed), seed)


def _train_whole(lesson: _Lesson, stage: str) -> History:
    encoder, examples, config, seed = lesson.encoder, lesson.examples, lesson.config, lesson.seed

    @lru_cache(maxsize=1)
    def tokens_of(epoch: int) -> dict[str, np.ndarray]:
        return encoder.padded(_with_slips(examples.texts, lesson.noise, (seed, epoch)))

    size = config.text_batch_size
    held_out = None
    if lesson.validation is not None:
        kept = encoder.padded(lesson.validation.texts)
        held_out = token_batches(
            kept,
            lesson.validation.targets,
            lesson.validation.weights,
            batch_size=2 * size,
            order=length_order(token_lengths(kept), batch_size=2 * size),
        )

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        tokens = tokens_of(epoch if lesson.noise else 0)
        order = length_order(
            token_lengths(tokens), batch_size=size, window=config.length_window, shuffle_seed=(seed, epoch)
        )
        return token_batches(tokens, examples.targets, examples.weights, batch_size=size, order=order)

    optimizer = lesson.optimizer(config.text_learning_rate)
    if config.layer_decay != 1:
        optimizer = with_layer_rates(optimizer, layer_scales(lesson.model, config.layer_decay))
    with nullcontext() if lesson.jit == "off" else compiled_activations(lesson.model):
        return lesson.fit(
            lesson.model,
            epoch_batches,
            optimizer=optimizer,
            epochs=config.text_epochs,
            validation=held_out,
            stage=stage,
        )


def _train_head(lesson: _Lesson, stage: str) -> History:
    encoder, examples, config, seed = lesson.encoder, lesson.examples, lesson.config, lesson.seed
    if lesson.noise:
        views = (examples.texts, _with_slips(examples.texts, lesson.noise, (seed, 0)))
        examples = TextExamples(
            np.concatenate(views), np.concatenate([examples.targets] * 2), np.tile(examples.weights, 2)
        )

    def vectors(texts: np.ndarray, name: str) -> np.ndarray:
        return lesson.outputs(encoder.model, encoder.padded(texts), stage=f"{stage}: {name}")

    kept = vectors(examples.texts, "vectors")
    held_out = None
    if lesson.validation is not None:
        held_out = array_batches(
            vectors(lesson.validation.texts, "validation vectors"),
            lesson.validation.targets,
            lesson.validation.weights,
            batch_size=1024,
        )
    return lesson.fit(
        keras.Model(encoder.model.output, lesson.model.output, name="head"),
        lambda epoch: array_batches(
            kept,
            examples.targets,
            examples.weights,
            batch_size=config.text_batch_size,
            shuffle_seed=(seed, epoch),
        ),
        optimizer=lesson.optimizer(config.text_learning_rate),
        epochs=config.text_epochs,
        validation=held_out,
        stage=stage,
    )


def _outputs(
    model: keras.Model, tokens, strategy, stage: str, checkpoints: Checkpoints | None, batch_size: int = 64
) -> np.ndarray:
    """Returns a model's outputs for tokenized texts, which it reads in the order of their lengths."""
    order = length_order(token_lengths(tokens), batch_size=batch_size)
    batches = token_batches(tokens, batch_size=batch_size, order=order)
    outputs = predict(model, batches, strategy, stage=stage, checkpoints=checkpoints)
    return outputs[np.argsort(order)]


def zero_shot_classifier(
    preset: str,
    descriptions: Iterable[str],
    targets: np.ndarray,
    *,
    config: TextConfig,
    strategy: tf.distribute.Strategy,
) -> TextClassifier:
    """Builds P(c|x) = softmax of scaled cosines between a text and the descriptions; nothing is trained.

    Args:
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        descriptions: sentences (M,), at least one for each target.
        targets: the target of each description (M,), from 0 to C - 1.
        config: sequence length and similarity scale.
        strategy: the tf.distribute strategy.
    """
    with strategy.scope():
        encoder = text_encoder(preset, config.sequence_length)
    vectors = _outputs(encoder.model, encoder.padded(descriptions), strategy, "", None)
    with strategy.scope():
        logits = Similarity(vectors, targets, config.similarity_scale, name="logits")(encoder.model.output)
        model = keras.Model(encoder.model.input, logits, name="zero_shot_classifier")
    return TextClassifier(encoder, model, None)

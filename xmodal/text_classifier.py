"""Texts -> logits of the target question: BERT with a trained head, or with similarities alone."""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal import train
from xmodal.backbones import TextEncoder, text_encoder
from xmodal.checkpoint import Checkpoints
from xmodal.config import TextConfig, TrainConfig
from xmodal.heads import Similarity, text_classifier


@dataclass(frozen=True)
class TextExamples:
    """Distinct pairs of text and target, each with the weight of its occurrences.

    Attributes:
        texts: str (U,).
        targets: int (U,).
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
    history: train.History | None

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
        tokens = train.array_batches(self.encoder.padded(distinct), batch_size=batch_size)
        read = train.predict(self.model, tokens, strategy, stage=stage, checkpoints=checkpoints)
        logits = read[place.ravel()]
        return logits.reshape(len(texts), -1, logits.shape[-1]).mean(axis=1)


def merge(texts: Iterable[str], targets: np.ndarray, weights: np.ndarray | None = None) -> TextExamples:
    """Merges identical (text, target) pairs into weighted examples, in a fixed order.

    The weighted mean loss over the merged examples, and its gradient, are those over all pairs.

    Args:
        texts: str (N,).
        targets: int (N,).
        weights: float (N,), ones by default.
    """
    texts = list(texts)
    weights = np.ones(len(texts)) if weights is None else weights
    total: dict[tuple[str, int], float] = {}
    for text, target, weight in zip(texts, np.asarray(targets).tolist(), weights, strict=True):
        total[text, target] = total.get((text, target), 0.0) + weight
    merged = sorted(total)
    return TextExamples(
        texts=np.array([text for text, _ in merged], object),
        targets=np.array([target for _, target in merged], np.int32),
        weights=np.array([total[pair] for pair in merged], np.float32),
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
    checkpoints: Checkpoints | None = None,
    training: TrainConfig | None = None,
) -> TextClassifier:
    """Fine-tunes a BERT encoder with a new head on weighted texts.

    Args:
        preset: the encoder, as `backbones.text_encoder` takes it.
        examples: what to learn.
        classes: the number of targets C.
        config: sequence length, epochs, batch and rate.
        seed: of the head's weights, dropout and order.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        checkpoints: where its state is kept.
        training: optimizer, precision and what else is common to every training.
    """
    training = training or TrainConfig()
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        encoder = text_encoder(preset, config.sequence_length)
        model = text_classifier(encoder.model, classes)
    tokens = encoder.padded(examples.texts)
    history = train.fit(
        model,
        lambda epoch: train.array_batches(
            tokens,
            examples.targets,
            examples.weights,
            batch_size=config.text_batch_size,
            shuffle_seed=(seed, epoch),
        ),
        loss=train.cross_entropy(),
        optimizer=train.optimizer_maker(training, config.text_learning_rate),
        epochs=config.text_epochs,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        config=training,
    )
    return TextClassifier(encoder, model, history)


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
        preset: the encoder, as `backbones.text_encoder` takes it.
        descriptions: sentences (M,), at least one for each target.
        targets: the target of each description (M,), from 0 to C - 1.
        config: sequence length and similarity scale.
        strategy: the tf.distribute strategy.
    """
    with strategy.scope():
        encoder = text_encoder(preset, config.sequence_length)
    tokens = train.array_batches(encoder.padded(descriptions), batch_size=64)
    vectors = train.predict(encoder.model, tokens, strategy)
    with strategy.scope():
        logits = Similarity(vectors, targets, config.similarity_scale, name="logits")(encoder.model.output)
        model = keras.Model(encoder.model.input, logits, name="zero_shot_classifier")
    return TextClassifier(encoder, model, None)

"""Images, sounds and documents in one form: labelled examples, their encoder, the names of their classes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.image import ImageConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.text import TextConfig
from xmodal.data.batches import Batches, array_batches
from xmodal.data.documents import DocumentData
from xmodal.data.examples import SPLITS
from xmodal.data.images import ImageData, ImageSplit, batches, learnable
from xmodal.models.bilstm import bilstm
from xmodal.models.heads import ClassTexts
from xmodal.models.text_encoder import bert_word_vectors
from xmodal.text.length_buckets import length_order
from xmodal.text.vocabulary import UNKNOWN, Numbered, Vocabulary, vocabulary_of

# Numbers of a word's vector, and their root mean square at the start.
WORD_WIDTH = 100
SPREAD = 0.5


# (seed, epoch) -> batches.
Epochs = Callable[[tuple[int, int]], tf.data.Dataset | Batches]


@dataclass(frozen=True)
class Modality:
    """Examples of one kind, C classes of them.

    Attributes:
        name: what they are, such as "images".
        class_names: the C names.
        texts: what the scorer compares with.
        labels: the classes of the examples, "train", "validation" and "test" (N,) each.
        encoder: makes a new encoder: inputs -> features (B, D).
        train_batches: (positions in train (n,), their targets (n,) or (n, K)) -> what gives the batches of an
            epoch for (seed, epoch), of (inputs, targets (B,) or (B, K), weights (B,)).
        eval_batches: (split, positions in it (n,), their targets) -> such batches, and the order (n,) in
            which they come.
        epochs: of a training on all examples.
        learning_rate: its peak.
        shares: of the classes, for the examples of a split (N, C), where labels are soft.
    """

    name: str
    class_names: tuple[str, ...]
    texts: ClassTexts
    labels: dict[str, np.ndarray]
    encoder: Callable[[], keras.Model]
    train_batches: Callable[[np.ndarray, np.ndarray], Epochs]
    eval_batches: Callable[[str, np.ndarray, np.ndarray], tuple[tf.data.Dataset | Batches, np.ndarray]]
    epochs: int
    learning_rate: float
    shares: dict[str, np.ndarray] = field(default_factory=dict)

    def targets_among(self, classes: np.ndarray, split: str, positions: np.ndarray) -> np.ndarray:
        """Returns what to learn of examples of some classes (K,), which are numbered anew.

        Args:
            classes: those to choose among.
            split: "train" or "validation".
            positions: the examples (n,), each of them of one of these classes.

        Returns:
            Indices among the classes (n,), or of soft labels the shares of these, with a sum of 1 (n, K).
        """
        if split not in self.shares:
            index = np.full(len(self.class_names), -1, np.int32)
            index[classes] = np.arange(len(classes))
            return index[self.labels[split][positions]]
        shares = self.shares[split][positions][:, classes]
        return shares / shares.sum(axis=1, keepdims=True)


def image_modality(
    data: ImageData,
    texts: ClassTexts,
    encoder: Callable[[], keras.Model],
    config: ImageConfig,
    *,
    image_size: int,
    batch_size: int,
) -> Modality:
    """Returns images, or sounds by a spectrogram of each, as a modality.

    Args:
        data: the splits.
        texts: what the classes are called.
        encoder: makes a backbone: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D).
        config: augmentation, epochs and rate.
        image_size: side of the images in pixels.
        batch_size: of a training.
    """
    splits = {name: getattr(data, name) for name in SPLITS}

    def labelled(split: str, positions: np.ndarray, targets: np.ndarray) -> ImageSplit:
        soft = targets.ndim == 2
        labels = (targets.argmax(axis=1) if soft else targets).astype(np.int32)
        return replace(splits[split].take(positions), labels=labels, shares=targets if soft else None)

    def train_batches(positions: np.ndarray, targets: np.ndarray) -> Epochs:
        # Taken once for all epochs, so that pixels which are kept are too.
        examples = labelled("train", positions, targets)
        epoch_batches = partial(
            batches,
            examples,
            image_size=image_size,
            batch_size=batch_size,
            shuffle=True,
            augment=config.augment,
        )
        return lambda seed: epoch_batches(seed=seed[0], epoch=seed[1]).map(learnable)

    def eval_batches(split: str, positions: np.ndarray, targets: np.ndarray) -> tuple[Batches, np.ndarray]:
        examples = labelled(split, positions, targets)
        found = batches(examples, image_size=image_size, batch_size=4 * batch_size).map(learnable)
        return found, np.arange(len(positions))

    return Modality(
        name=f"{data.train.medium.noun}s" if data.train.medium else "images",
        class_names=data.class_names,
        texts=texts,
        labels={name: split.labels for name, split in splits.items()},
        encoder=encoder,
        train_batches=train_batches,
        eval_batches=eval_batches,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        shares=_shares(data),
    )


def document_modality(
    data: DocumentData,
    texts: ClassTexts,
    preset: str,
    *,
    text_config: TextConfig,
    config: ScorerConfig,
    seed: int,
) -> tuple[Modality, dict[str, Numbered]]:
    """Returns documents as a modality, and what became of each split's words.

    The vocabulary is that of all training documents, whichever of them a training may see the labels of.

    Args:
        data: the splits.
        texts: what the classes are called and about.
        preset: the BERT whose word pieces the words' vectors may start from.
        text_config: length, batch, epochs and rate.
        config: the vocabulary and the LSTMs.
        seed: of word vectors that start at random.
    """
    vocabulary = vocabulary_of(data.train.texts, config.vocabulary)
    vectors = word_vectors(vocabulary, preset if config.word_vectors == "bert" else None, seed)
    length, size = text_config.sequence_length, text_config.text_batch_size
    word_ids = {name: vocabulary.number(getattr(data, name).texts, length) for name in SPLITS}

    def train_batches(positions: np.ndarray, targets: np.ndarray) -> Epochs:
        lengths = word_ids["train"].lengths[positions]

        def epoch_batches(seed: tuple[int, int]) -> tf.data.Dataset:
            order = length_order(
                lengths, batch_size=size, window=text_config.length_window, shuffle_seed=seed
            )
            if len(order) > size:
                # Other ones in each epoch: what is left over and would make a small, noisy batch.
                order = order[: len(order) // size * size]
            return array_batches(word_ids["train"].ids[positions[order]], targets[order], batch_size=size)

        return epoch_batches

    def eval_batches(
        split: str, positions: np.ndarray, targets: np.ndarray
    ) -> tuple[tf.data.Dataset, np.ndarray]:
        order = length_order(word_ids[split].lengths[positions], batch_size=4 * size)
        ids = word_ids[split].ids[positions[order]]
        return array_batches(ids, targets[order], batch_size=4 * size), order

    modality = Modality(
        name="documents",
        class_names=data.class_names,
        texts=texts,
        labels={name: getattr(data, name).labels for name in SPLITS},
        encoder=lambda: bilstm(vectors, length, units=config.units, dropout=config.text_dropout),
        train_batches=train_batches,
        eval_batches=eval_batches,
        epochs=text_config.text_epochs,
        learning_rate=text_config.text_learning_rate,
        shares=_shares(data),
    )
    return modality, word_ids


def word_vectors(
    vocabulary: Vocabulary, preset: str | None, seed: int, width: int = WORD_WIDTH
) -> np.ndarray:
    """Returns what the words' vectors start as: (V, D), those of no word zero.

    Args:
        vocabulary: the words.
        preset: the BERT whose word pieces they come from; None draws them at random.
        seed: of the random ones.
        width: numbers D of a vector.
    """
    if preset is None:
        known_vectors = np.random.default_rng(seed).normal(size=(len(vocabulary.words), width))
    else:
        known_vectors = bert_word_vectors(preset, vocabulary.words, width)
    return np.concatenate([np.zeros((UNKNOWN + 1, width)), SPREAD * known_vectors]).astype(np.float32)


def _shares(data: ImageData | DocumentData) -> dict[str, np.ndarray]:
    shares = {name: getattr(data, name).shares for name in ("train", "validation")}
    return {name: array for name, array in shares.items() if array is not None}

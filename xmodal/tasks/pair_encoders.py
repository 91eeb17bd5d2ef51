"""What the encoders of each modality make of pairs, and batches of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.examples import Labelled
from xmodal.models.fusion import SEQUENCES
from xmodal.models.text_encoder import TextEncoder
from xmodal.text.length_buckets import targets_of
from xmodal.training.progress import History

# Rows that statistics are taken of.
SAMPLE = 4096


@dataclass(frozen=True)
class PictureEncoder:
    """What reads images, or the spectrograms of sounds.

    Attributes:
        backbone: RGB pictures (B, H, W, 3) from 0 to 255 -> the pooled features and, behind them, a map
            (B, D + R F).
        map_shape: of that map: (R, F).
    """

    backbone: keras.Model
    map_shape: tuple[int, int]


@dataclass(frozen=True)
class Encoders:
    """The encoders of all modalities.

    Attributes:
        pictures: modality -> what reads its pictures: of "image" and, where pairs have one, of "sound".
        text: the tokenizer, and the encoder behind it.
        text_model: what the tokenizer gives -> the sentence vector and, below it, those of the tokens
            (B, 1 + T, E).
        histories: of the trainings that they went through.
    """

    pictures: Mapping[str, PictureEncoder]
    text: TextEncoder
    text_model: keras.Model
    histories: tuple[History, ...] = ()

    def parts(self, modality: str, rows: tf.Tensor, mask: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Returns the inputs of a fusion model from what the encoder of a modality gave.

        Args:
            modality: such as "image".
            rows: what it gave (B, ...).
            mask: of a text, which of its tokens there are (B, T).
        """
        if modality in self.pictures:
            return image_parts(rows, self.pictures[modality].map_shape, modality)
        return {"text": rows[:, 0], "tokens": rows[:, 1:], "token_mask": mask}


def image_parts(rows: tf.Tensor, map_shape: tuple[int, int], modality: str = "image") -> dict[str, tf.Tensor]:
    """Returns the inputs "image" and "regions" of a fusion model from a backbone's output (B, D + R F).

    Args:
        rows: that output.
        map_shape: (R, F).
        modality: "sound" for "sound" and "sound_regions".
    """
    regions, width = map_shape
    pooled_width = rows.shape[1] - regions * width
    return {
        modality: rows[:, :pooled_width],
        SEQUENCES[modality]: tf.reshape(rows[:, pooled_width:], [-1, regions, width]),
    }


@dataclass(frozen=True)
class EncodedModality:
    """What an encoder made of one modality of N pairs.

    Attributes:
        views: for each view what it gave of each distinct example (M, ...); of pictures (M, D + R F), of
            texts (M, 1 + T, E).
        row: (N,) the row of each pair in these; what a missing one has there does not count.
        present: (N,) booleans.
        mask: of texts, which tokens there are (M, T).
    """

    views: tuple[tf.Tensor, ...]
    row: np.ndarray
    present: np.ndarray
    mask: tf.Tensor | None = None

    def take(self, positions: np.ndarray) -> "EncodedModality":
        """Returns that of the pairs at some positions (n,)."""
        return replace(self, row=self.row[positions], present=self.present[positions])


@dataclass(frozen=True)
class EncodedSplit(Labelled):
    """What the encoders made of N pairs.

    Attributes:
        modalities: "image", "text" and, where pairs have one, "sound" -> what was made of it.
        labels: (N,).
        shares: of the classes (N, C), where labels are soft.
    """

    modalities: Mapping[str, EncodedModality]
    labels: np.ndarray
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def present(self) -> dict[str, np.ndarray]:
        """Modality -> whether each pair has it (N,)."""
        return {name: encoded.present for name, encoded in self.modalities.items()}

    def showing(self, present: Mapping[str, np.ndarray]) -> "EncodedSplit":
        """Returns the same pairs with these modalities (N,) and no others."""
        modalities = {
            name: replace(encoded, present=present[name]) for name, encoded in self.modalities.items()
        }
        return replace(self, modalities=modalities)

    def only(self, visible: Sequence[str]) -> "EncodedSplit":
        """Returns the same pairs without the modalities that are not visible."""
        return self.showing({name: mask & (name in visible) for name, mask in self.present.items()})

    def take(self, positions: np.ndarray) -> "EncodedSplit":
        """Returns the pairs at some positions (n,)."""
        modalities = {name: encoded.take(positions) for name, encoded in self.modalities.items()}
        return EncodedSplit(modalities, self.labels[positions], self.shares_at(positions))


def samples(encoders: Encoders, split: EncodedSplit) -> dict[str, np.ndarray]:
    """Returns some of what fusion models read of each modality, as `fusion.FusionSettings` takes it."""
    parts: dict[str, tf.Tensor] = {}
    for name, encoded in split.modalities.items():
        if encoded.mask is None:
            parts |= encoders.parts(name, encoded.views[0][:-1][:SAMPLE])
            continue
        row = encoded.row[encoded.present][:SAMPLE]
        words, mask = tf.gather(encoded.views[0], row), tf.gather(encoded.mask, row)
        tokens = tf.boolean_mask(words[:, 1:], mask > 0)[:SAMPLE]
        parts |= {name: words[:, 0], SEQUENCES[name]: tokens}
    return {name: part.numpy() for name, part in parts.items()}


def vectors(encoders: Encoders, split: EncodedSplit) -> dict[str, np.ndarray]:
    """Returns the vector of each pair by modality (N, D), zeros for what is missing."""
    return {
        name: encoders.parts(name, tf.gather(encoded.views[0], encoded.row))[name].numpy()
        * encoded.present[:, None]
        for name, encoded in split.modalities.items()
    }


def pair_batches(
    encoders: Encoders,
    split: EncodedSplit,
    inputs: Sequence[str],
    *,
    batch_size: int,
    order: np.ndarray | None = None,
    view: int = 0,
) -> tf.data.Dataset:
    """Batches encoded pairs.

    Args:
        encoders: what made them.
        split: the pairs.
        inputs: names of what the model reads, see `fusion.inputs_of`.
        batch_size: B.
        order: (n,) positions in the split, all of them in turn by default.
        view: which view of the images and sounds.

    Returns:
        Batches of (inputs, labels (B,) or (B, C), weights (B,)).
    """
    order = np.arange(len(split)) if order is None else order
    columns = {
        "target": targets_of(split.targets[order], len(order)),
        "weight": np.ones(len(order), np.float32),
    }
    for name, encoded in split.modalities.items():
        columns |= {name: encoded.row[order], f"has_{name}": encoded.present[order].astype(np.float32)}

    def take(columns):
        parts = {f"has_{name}": columns[f"has_{name}"] for name in split.modalities}
        for name, encoded in split.modalities.items():
            if name in inputs or SEQUENCES[name] in inputs:
                rows = tf.gather(encoded.views[view % len(encoded.views)], columns[name])
                mask = None if encoded.mask is None else tf.gather(encoded.mask, columns[name])
                parts |= encoders.parts(name, rows, mask)
        return {name: parts[name] for name in inputs}, columns["target"], columns["weight"]

    return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size).map(take).prefetch(2)

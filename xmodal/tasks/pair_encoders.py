"""What an image backbone and a BERT make of pairs, and batches of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.examples import Labelled
from xmodal.models.text_encoder import TextEncoder
from xmodal.text.length_buckets import targets_of
from xmodal.training.progress import History

# Rows that statistics are taken of.
SAMPLE = 4096


@dataclass(frozen=True)
class Encoders:
    """The encoders of both sides.

    Attributes:
        backbone: RGB images (B, H, W, 3) from 0 to 255 -> the pooled features and, behind them, a map
            (B, D + R F).
        map_shape: of that map: (R, F).
        text: the tokenizer, and the encoder behind it.
        text_model: what the tokenizer gives -> the sentence vector and, below it, those of the tokens
            (B, 1 + T, E).
        histories: of the trainings that they went through.
    """

    backbone: keras.Model
    map_shape: tuple[int, int]
    text: TextEncoder
    text_model: keras.Model
    histories: tuple[History, ...]


def image_parts(rows: tf.Tensor, map_shape: tuple[int, int]) -> dict[str, tf.Tensor]:
    """Returns the inputs "image" and "regions" of a fusion model from a backbone's output (B, D + R F).

    Args:
        rows: that output.
        map_shape: (R, F).
    """
    regions, width = map_shape
    pooled = rows.shape[1] - regions * width
    return {"image": rows[:, :pooled], "regions": tf.reshape(rows[:, pooled:], [-1, regions, width])}


@dataclass(frozen=True)
class EncodedSplit(Labelled):
    """What the encoders made of N pairs.

    Attributes:
        views: for each view what the backbone gave of each image, and a row of zeros (M + 1, D + R F).
        image_row: (N,) the row of each pair's image; the last one for none.
        texts: what the text model gave of each distinct text (U, 1 + T, E).
        token_mask: (U, T).
        text_row: (N,) the row of each pair's text.
        has_image, has_text: (N,) booleans.
        labels: (N,).
        shares: of the classes (N, C), where labels are soft.
    """

    views: tuple[tf.Tensor, ...]
    image_row: np.ndarray
    texts: tf.Tensor
    token_mask: tf.Tensor
    text_row: np.ndarray
    has_image: np.ndarray
    has_text: np.ndarray
    labels: np.ndarray
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def showing(self, has_image: np.ndarray, has_text: np.ndarray) -> "EncodedSplit":
        """Returns the same pairs with these sides (N,) and no others."""
        return replace(self, has_image=has_image, has_text=has_text)

    def only(self, modality: str) -> "EncodedSplit":
        """Returns the same pairs with their "image" or their "text" alone."""
        none = np.zeros(len(self), bool)
        return self.showing(*((self.has_image, none) if modality == "image" else (none, self.has_text)))

    def take(self, positions: np.ndarray) -> "EncodedSplit":
        """Returns the pairs at some positions (n,)."""
        names = ("image_row", "text_row", "has_image", "has_text", "labels")
        columns = {name: getattr(self, name)[positions] for name in names}
        return replace(self, **columns, shares=self.shares_at(positions))


def samples(encoders: Encoders, split: EncodedSplit) -> dict[str, np.ndarray]:
    """Returns some of what fusion models read of each side, as `fusion.FusionSettings` takes it."""
    images = image_parts(split.views[0][:-1][:SAMPLE], encoders.map_shape)
    row = split.text_row[split.has_text][:SAMPLE]
    words, mask = tf.gather(split.texts, row), tf.gather(split.token_mask, row)
    tokens = tf.boolean_mask(words[:, 1:], mask > 0)[:SAMPLE]
    parts = {**images, "text": words[:, 0], "tokens": tokens}
    return {name: part.numpy() for name, part in parts.items()}


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
        view: which view of the images.

    Returns:
        Batches of (inputs, labels (B,) or (B, C), weights (B,)).
    """
    order = np.arange(len(split)) if order is None else order
    rows = split.views[view % len(split.views)]
    columns = {
        "image_row": split.image_row[order],
        "text_row": split.text_row[order],
        "has_image": split.has_image[order].astype(np.float32),
        "has_text": split.has_text[order].astype(np.float32),
        "target": targets_of(split.targets[order], len(order)),
    }

    def take(columns):
        parts = {"has_image": columns["has_image"], "has_text": columns["has_text"]}
        if "image" in inputs:
            parts |= image_parts(tf.gather(rows, columns["image_row"]), encoders.map_shape)
        tokens = tf.gather(split.texts, columns["text_row"])
        parts |= {"text": tokens[:, 0], "tokens": tokens[:, 1:]}
        parts["token_mask"] = tf.gather(split.token_mask, columns["text_row"])
        ones = tf.ones_like(columns["has_image"])
        return {name: parts[name] for name in inputs}, columns["target"], ones

    return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size).map(take).prefetch(2)

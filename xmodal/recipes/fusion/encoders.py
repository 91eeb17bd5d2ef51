"""Encoders of both modalities of pairs: each image and each distinct text is read once, and kept."""

from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.text import TextConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.data.examples import SPLITS
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.pairs import PairData, PairSplit
from xmodal.models.image_backbones import with_regions
from xmodal.models.text_encoder import TextEncoder, text_encoder, with_random_weights
from xmodal.models.trainable import set_trainable
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import backbone_features, train_image_classifier
from xmodal.tasks.pair_encoders import EncodedSplit, Encoders
from xmodal.tasks.text_classifier import TextClassifier, merge, train_text_classifier
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer


def require_both_modalities(data: PairData) -> None:
    """Refuses a split in which no pair has an image, or none has a text, with a `UserError`."""
    for name in SPLITS:
        split: PairSplit = getattr(data, name)
        for modality, there in (("image", split.has_image), ("text", split.has_text)):
            if not there.any():
                raise UserError(
                    f"no {name} pair has {'an' if modality == 'image' else 'a'} {modality}",
                    "there is nothing to fuse: add some, or use `experiment=vgg_to_bert` or bert_news",
                )


def require_image_layers(session: Session) -> None:
    """Refuses names of layers that the image network does not have, before anything is trained.

    Raises:
        UserError: for --features, --region_layer and --trainable.
    """
    config = session.config
    backbone = build_backbone(config, config.image.base, "none", session.trainer)
    with_regions(backbone, config.fusion.region_layer)
    set_trainable(backbone, config.image.trainable)


def image_encoder(
    session: Session,
    data: PairData,
    *,
    weights: str,
    name: str,
) -> tuple[keras.Model, tuple[History, ...]]:
    """Builds a backbone, and trains it by itself where `--trainable` names a layer: from that layer on.

    Args:
        session: the run.
        data: the pairs; it learns from those that have an image.
        weights: that it begins with, as `image_backbone` takes them.
        name: what its training is called.

    Returns:
        RGB images (B, H, W, 3) from 0 to 255 -> pooled features (B, D), and the histories.
    """
    config, trainer = session.config, session.trainer
    backbone = build_backbone(config, config.image.base, weights, trainer)
    if config.image.trainable == "head":
        return backbone, ()
    classifier = train_image_classifier(backbone, images_of(data), config.image, trainer, name=name)
    return backbone, classifier.histories


def images_of(data: PairData) -> ImageData:
    """Returns the images of pairs."""
    return ImageData(
        data.train.images(), data.validation.images(), data.test.images(), data.class_names, data.report
    )


def sentence_encoder(
    session: Session,
    data: PairData,
    preset: str,
    *,
    weights: Literal["preset", "none"],
    name: str,
) -> tuple[TextEncoder, tuple[History, ...]]:
    """Loads a text encoder, and trains it by itself where `--text_trainable` names a layer: from that on.

    Args:
        session: the run.
        data: the pairs; it learns from those that have a text.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        weights: of the encoder: the preset's own, or none, for random ones.
        name: what its training is called.
    """
    config = session.config
    if config.text.text_trainable == "head":
        with session.trainer.scope():
            text = text_encoder(preset, config.text.sequence_length)
            return text if weights == "preset" else with_random_weights(text, data.train.texts), ()
    classifier = train_texts(session.trainer, data, preset, config.text, weights=weights, name=name)
    return classifier.encoder, (classifier.history,) if classifier.history else ()


def train_texts(
    trainer: Trainer,
    data: PairData,
    preset: str,
    config: TextConfig,
    *,
    weights: Literal["preset", "none"],
    name: str,
) -> TextClassifier:
    """Trains a text encoder with a head on the texts of pairs; arguments as of `sentence_encoder`."""
    learned, held_out = (
        merge(split.texts[split.has_text], split.targets[split.has_text])
        for split in (data.train, data.validation)
    )
    return train_text_classifier(
        preset,
        learned,
        len(data.class_names),
        config,
        trainer,
        name=name,
        validation=held_out,
        weights=weights,
    )


def both_encoders(
    session: Session, backbone: keras.Model, text: TextEncoder, histories: tuple[History, ...]
) -> Encoders:
    """Adds a map to what an image backbone gives and the tokens to that of a text encoder, to read both."""
    with session.trainer.strategy.scope():
        seen, map_shape = with_regions(backbone, session.config.fusion.region_layer)
        return Encoders(seen, map_shape, text, with_tokens(text.model), histories)


def with_tokens(encoder: keras.Model) -> keras.Model:
    """Lets a sentence encoder give the vectors of the tokens too.

    Args:
        encoder: token_ids, segment_ids and padding_mask -> sentence vectors (B, E).

    Returns:
        A model: the same -> the sentence vector and, below it, those of the tokens (B, 1 + T, E).
    """
    vectors, _ = encoder.get_layer("mean_pool").input
    sentence = keras.layers.Reshape((1, vectors.shape[-1]))(encoder.output)
    joined = keras.layers.Concatenate(axis=1, name="with_tokens")([sentence, vectors])
    return keras.Model(encoder.input, joined, name=encoder.name)


def read_images(
    session: Session,
    encoders: Encoders,
    data: PairData,
    *,
    views: int,
    prefix: str,
) -> dict[str, tuple[tf.Tensor, ...]]:
    """Runs the backbone over the images of all splits.

    Args:
        session: the run.
        encoders: of both modalities.
        data: the pairs.
        views: of each training image: as it is, and then augmented.
        prefix: of what stages are called.

    Returns:
        Name of a split -> for each view what the backbone gave of each image, and a row of zeros.
    """

    def read(images: ImageSplit, name: str, view: int) -> tf.Tensor:
        stage = f"{prefix}images: {name}" + (f", view {view + 1}" if name == "train" else "")
        image = session.config.image
        features = backbone_features(encoders.backbone, images, image, session.trainer, name=stage, view=view)
        rows = np.asarray(features)
        return tf.concat([rows, tf.zeros_like(rows[:1])], axis=0)

    return {
        name: tuple(
            read(getattr(data, name).images(), name, view) for view in range(views if name == "train" else 1)
        )
        for name in SPLITS
    }


Read = tuple[tf.Tensor, tf.Tensor, np.ndarray]


def read_texts(
    session: Session,
    encoders: Encoders,
    data: PairData,
    *,
    prefix: str,
) -> dict[str, Read]:
    """Runs the text model over the texts of all splits; arguments as of `read_images`.

    Returns:
        Name of a split -> what the model gave of the distinct texts, their masks, and the row of each text.
    """

    def read(texts: np.ndarray, stage: str) -> Read:
        distinct, row = np.unique(texts.astype(str), return_inverse=True)
        tokens = encoders.text.padded(distinct)
        batches = array_batches(tokens, batch_size=64)
        rows = session.trainer.predict(encoders.text_model, batches, name=stage)
        return tf.constant(rows), tf.cast(tokens["padding_mask"], tf.float32), row

    return {name: read(getattr(data, name).texts, f"{prefix}texts: {name}") for name in SPLITS}


def encoded_pairs(
    data: PairData, images: dict[str, tuple[tf.Tensor, ...]], texts: dict[str, Read]
) -> dict[str, EncodedSplit]:
    """Joins what `read_images` and `read_texts` gave: name of a split -> its pairs."""

    def joined(split: PairSplit, views: tuple[tf.Tensor, ...], tokens: Read) -> EncodedSplit:
        there = split.has_image
        return EncodedSplit(
            views=views,
            image_row=np.where(there, np.cumsum(there) - 1, int(there.sum())),
            texts=tokens[0],
            token_mask=tokens[1],
            text_row=tokens[2],
            has_image=there,
            has_text=split.has_text,
            labels=split.labels,
            shares=split.shares,
        )

    return {name: joined(getattr(data, name), images[name], texts[name]) for name in SPLITS}

"""Encoders of the modalities of pairs: each image, distinct text and sound is read once, and kept."""

from dataclasses import replace
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.config.image import ImageConfig
from xmodal.config.text import TextConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.data.examples import SPLITS
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.pairs import PairData, PairSplit
from xmodal.models.image_backbones import with_regions
from xmodal.models.text_encoder import TextEncoder, text_encoder, with_random_weights
from xmodal.models.trainable import set_trainable
from xmodal.models.window_layers import over_windows
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import backbone_features, train_image_classifier
from xmodal.tasks.pair_encoders import EncodedModality, EncodedSplit, Encoders, PictureEncoder
from xmodal.tasks.text_classifier import TextClassifier, merge, train_text_classifier
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer

# What to do where nothing has a modality.
REMEDIES = {"sound": "fill in the column 'audio', or remove it"}


def require_all_modalities(data: PairData) -> None:
    """Refuses a split in which no pair has an image, a text or, where there are any, a sound: `UserError`."""
    for name in SPLITS:
        split: PairSplit = getattr(data, name)
        for modality, mask in split.present.items():
            if not mask.any():
                raise UserError(
                    f"no {name} pair has {'an' if modality == 'image' else 'a'} {modality}",
                    REMEDIES.get(
                        modality,
                        "there is nothing to fuse: add some, or use `experiment=vgg_to_bert` or bert_news",
                    ),
                )


def require_picture_layers(session: Session, data: PairData) -> None:
    """Refuses names of layers that the image network does not have, before anything is trained.

    Raises:
        UserError: for --features, --region_layer and --trainable.
    """
    for modality in data.train.pictured:
        backbone = picture_backbone(session, modality, "none")
        with_regions(backbone, session.config.fusion.region_layer)
        set_trainable(backbone, session.config.image.trainable)


def picture_config(config: Config, modality: str) -> ImageConfig:
    """Returns how the network that reads images, or spectrograms of sounds, is trained."""
    if modality == "image":
        return config.image
    sound = config.scorer
    return replace(config.image, augment=sound.sound_augment, epochs=sound.sound_epochs)


def picture_backbone(session: Session, modality: str, weights: str) -> keras.Model:
    """Builds the network that reads images, or spectrograms of sounds.

    Raises:
        UserError: for features that it does not have, or too many of them.
    """
    config, trainer = session.config, session.trainer
    if modality == "image":
        return build_backbone(config, config.image.base, weights, trainer)
    sound_config = replace(config.image, pooling=config.fusion.sound_pooling)
    try:
        return build_backbone(replace(config, image=sound_config), config.image.base, weights, trainer)
    except UserError as error:
        raise UserError(error.problem.replace("`pooling=", "`sound_pooling="), error.remedy) from error


def picture_encoder(
    session: Session,
    data: PairData,
    modality: str,
    *,
    weights: str,
    name: str,
) -> tuple[keras.Model, tuple[History, ...]]:
    """Builds a backbone, and trains it by itself where `--trainable` names a layer: from that layer on.

    Args:
        session: the run.
        data: the pairs; it learns from those that have an image, or a sound.
        modality: "image" or "sound".
        weights: that it begins with, as `image_backbone` takes them.
        name: what its training is called.

    Returns:
        RGB pictures (B, H, W, 3) from 0 to 255 -> pooled features (B, D), and the histories.
    """
    backbone = picture_backbone(session, modality, weights)
    if session.config.image.trainable == "head":
        return backbone, ()
    config, pictures = picture_config(session.config, modality), pictures_of(data, modality)
    classifier = train_image_classifier(backbone, pictures, config, session.trainer, name=name)
    return backbone, classifier.histories


def pictures_of(data: PairData, modality: str) -> ImageData:
    """Returns the images of pairs, or their sounds."""
    train, validation, test = (getattr(data, name).pictures(modality) for name in SPLITS)
    return ImageData(train, validation, test, data.class_names, data.report)


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
    train, validation_examples = (
        merge(split.texts[split.has_text], split.targets[split.has_text])
        for split in (data.train, data.validation)
    )
    return train_text_classifier(
        preset,
        train,
        len(data.class_names),
        config,
        trainer,
        name=name,
        validation=validation_examples,
        weights=weights,
    )


def all_encoders(
    session: Session,
    backbones: dict[str, keras.Model],
    text: TextEncoder,
    histories: tuple[History, ...],
) -> Encoders:
    """Adds a map to what backbones give and the tokens to that of a text encoder, to read all of them.

    Args:
        session: the run.
        backbones: of "image" and, where pairs have sounds, of "sound".
        text: the text encoder.
        histories: of their trainings.
    """
    layer = session.config.fusion.region_layer
    with session.trainer.strategy.scope():
        pictures = {
            modality: PictureEncoder(*with_regions(backbone, layer))
            for modality, backbone in backbones.items()
        }
        return Encoders(pictures, text, with_tokens(text.model), histories)


def with_tokens(encoder: keras.Model) -> keras.Model:
    """Lets a sentence encoder give the vectors of the tokens too.

    Args:
        encoder: token_ids, segment_ids and padding_mask -> sentence vectors (B, E).

    Returns:
        A model: the same -> the sentence vector and, below it, those of the tokens (B, 1 + T, E).
    """
    vectors, _ = encoder.get_layer("mean_pool").input
    sentence = keras.layers.Reshape((1, vectors.shape[-1]))(encoder.output)
    outputs = keras.layers.Concatenate(axis=1, name="with_tokens")([sentence, vectors])
    return keras.Model(encoder.input, outputs, name=encoder.name)


def read_pictures(
    session: Session,
    encoders: Encoders,
    data: PairData,
    modality: str,
    *,
    views: int,
    prefix: str,
) -> dict[str, EncodedModality]:
    """Runs the backbone over the images of all splits, or over the spectrograms of their sounds.

    Of a long sound there is the mean over its spectrograms, and of an augmented one a single one.

    Args:
        session: the run.
        encoders: of all modalities.
        data: the pairs.
        modality: "image" or "sound".
        views: of each training picture: as it is, and then augmented.
        prefix: of what stages are called.

    Returns:
        Name of a split -> for each view what the backbone gave of each picture, and a row of zeros.
    """
    backbone, config = encoders.pictures[modality].backbone, picture_config(session.config, modality)

    def read(pictures: ImageSplit, name: str, view: int) -> tf.Tensor:
        stage = f"{prefix}{modality}s: {name}" + (f", view {view + 1}" if name == "train" else "")
        network = backbone if view or not pictures.medium else over_windows(backbone)
        features = backbone_features(network, pictures, config, session.trainer, name=stage, view=view)
        rows = np.asarray(features)
        return tf.concat([rows, tf.zeros_like(rows[:1])], axis=0)

    encoded = {}
    for name in SPLITS:
        split: PairSplit = getattr(data, name)
        pictures = split.pictures(modality)
        number = views if name == "train" else 1
        encoded[name] = EncodedModality(
            tuple(read(pictures, name, view) for view in range(number)),
            split.picture_rows(modality),
            split.present[modality],
        )
    return encoded


def read_texts(
    session: Session,
    encoders: Encoders,
    data: PairData,
    *,
    prefix: str,
) -> dict[str, EncodedModality]:
    """Runs the text model over the distinct texts of all splits; arguments as of `read_pictures`."""

    def read(split: PairSplit, stage: str) -> EncodedModality:
        distinct_texts, row = np.unique(split.texts.astype(str), return_inverse=True)
        tokens = encoders.text.padded(distinct_texts)
        batches = array_batches(tokens, batch_size=64)
        rows = tf.constant(session.trainer.predict(encoders.text_model, batches, name=stage))
        return EncodedModality((rows,), row, split.has_text, tf.cast(tokens["padding_mask"], tf.float32))

    return {name: read(getattr(data, name), f"{prefix}texts: {name}") for name in SPLITS}


def encoded_pairs(
    data: PairData, modalities: dict[str, dict[str, EncodedModality]]
) -> dict[str, EncodedSplit]:
    """Joins what `read_pictures` and `read_texts` gave by modality: name of a split -> its pairs."""
    return {
        name: EncodedSplit(
            {modality: encoded[name] for modality, encoded in modalities.items()},
            getattr(data, name).labels,
            getattr(data, name).shares,
        )
        for name in SPLITS
    }

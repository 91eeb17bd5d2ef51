"""What the settings of a run name: data, networks and the feature cache."""

from dataclasses import replace
from pathlib import Path

import keras

from xmodal.config.config import Config
from xmodal.config.data import DocumentConfig
from xmodal.config.image import AUGMENTATIONS
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import DataReport
from xmodal.data.document_sources import read_documents
from xmodal.data.documents import DocumentData, load_documents, with_test
from xmodal.data.images import ImageData, ImageSplit, load_images, load_unlabelled
from xmodal.data.pair_sounds import with_sounds
from xmodal.data.pairs import PairData, load_pairs
from xmodal.data.sound_format import SoundFormat
from xmodal.data.table_format import TableFormat
from xmodal.data.video_format import VideoFormat
from xmodal.models.image_backbones import image_backbone
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.trainer import Trainer

# What is done with images alone: option -> without it.
OF_IMAGES = {
    **{"mirror": False, "robust": False, "attacked_examples": 0, "small": False, "portable": False},
    "speaker": "none",
}


def load_configured_images(config: Config, multi_label: str = "") -> ImageData:
    """Reads, splits and audits the images that a configuration asks for, see `load_images`.

    Args:
        config: all flags.
        multi_label: what stands between the labels of an image.

    Raises:
        UserError: for sounds and videos.
    """
    data = _load_dataset(config, SoundFormat(), VideoFormat(), multi_label)
    if data.train.medium:
        raise UserError(
            f"`experiment={config.run.experiment}` takes images, and `dataset={config.data.dataset}` holds "
            f"{data.train.medium.noun}s",
            "choose vgg_to_bert without `multi_label`, or images"
            if multi_label
            else "choose vgg_to_bert, or images",
        )
    return data


def load_configured_sounds(config: Config) -> ImageData:
    """Reads, splits and audits the sounds that `config.scorer.sounds` names, see `load_images`.

    Raises:
        UserError: when they are not there, or are no sounds.
    """
    source = config.scorer.sounds
    try:
        data = _load(config, source, sound_format(config), VideoFormat())
    except UserError as error:
        raise UserError(error.problem.replace("`dataset=", "`sounds="), error.remedy) from error
    if data.train.medium is None or data.train.medium.noun != "sound":
        raise UserError(f"`sounds={source}` holds no sounds", "give spoken_digits, or sounds:PATH")
    return data


def sound_format(config: Config) -> SoundFormat:
    """Returns how sounds are read."""
    return SoundFormat(config.sound.sound_rate, config.sound.sound_seconds, config.sound.max_seconds)


def load_configured_media(config: Config) -> ImageData:
    """Reads, splits and audits the images, sounds or videos that a configuration asks for, see `load_images`.

    Raises:
        UserError: for augmentations of another kind, and for what is done with images alone.
    """
    videos = VideoFormat(config.video.frames, config.sound.max_seconds, config.data.max_pixels)
    data = _load_dataset(config, sound_format(config), videos)
    medium = data.train.medium
    kind, augmentations = (f"{medium.noun}s", medium.augmentations) if medium else ("images", AUGMENTATIONS)
    for name in config.image.augment:
        if name not in augmentations:
            raise UserError(
                f"the augmentation {name!r} is not one of {kind}, as `dataset={config.data.dataset}` has",
                f"give `augment={','.join(augmentations)}`, some of these, or `augment=`",
            )
    for name, off_value in _excluded_options(data).items():
        if config.value(name) != off_value:
            raise UserError(
                f"`{name}={config.value(name)}` is for images, not for {kind} as `dataset` has",
                "leave it out",
            )
    return data


def _excluded_options(data: ImageData) -> dict[str, object]:
    """Returns the options that are not for some data, with the values that do nothing."""
    if data.train.medium is None:
        return {}
    # Videos are decoded in Python, which other processes than the run's own do not have.
    return OF_IMAGES | ({"data_service": ""} if data.train.medium.noun == "video" else {})


def _load_dataset(config: Config, sound: SoundFormat, video: VideoFormat, multi_label: str = "") -> ImageData:
    options = {"multi_label": multi_label, "also_train": config.data.also_train}
    return _load(config, config.data.dataset, sound, video, **options)


def _load(config: Config, source: str, sound: SoundFormat, video: VideoFormat, **options: str) -> ImageData:
    return load_images(
        source,
        config.splits,
        seed=config.run.seed,
        cache=cache_folder(),
        offline=config.run.offline,
        bad_images=config.data.bad_images,
        max_pixels=config.data.max_pixels,
        sound=sound,
        video=video,
        **options,
    )


def load_configured_unlabelled(config: Config) -> tuple[ImageSplit, DataReport]:
    """Lists and audits the images without labels that a configuration names, see `load_unlabelled`."""
    return load_unlabelled(
        config.data.dataset,
        cache=cache_folder(),
        offline=config.run.offline,
        bad_images=config.data.bad_images,
        max_pixels=config.data.max_pixels,
    )


def load_configured_documents(config: Config, multi_label: str = "") -> DocumentData:
    """Reads, splits and audits the documents that a configuration asks for, see `load_documents`.

    Args:
        config: all flags.
        multi_label: as `TableFormat.several`.
    """
    return load_documents(
        config.documents.documents,
        config.splits,
        seed=config.run.seed,
        cache=cache_folder(),
        offline=config.run.offline,
        table_format=replace(_table_format(config.documents), several=multi_label),
    )


def other_test_documents(
    original: DocumentData, documents: DocumentConfig, *, cache: Path, offline: bool
) -> dict[str, DocumentData]:
    """Loads the other test sets that the flags of a run name, for a model trained on the original.

    Of each, the test split is taken, or everything where it has none; what else it holds is not looked at.
    Of documents with several labels there are none.

    Args:
        original: the documents to learn from, as they were read.
        documents: the flags.
        cache: folder of downloaded data.
        offline: reach for nothing.

    Returns:
        Name -> the original with that test split in place of its own, and a report on both.

    Raises:
        UserError: when one is not there, or has a class that there is nothing to learn of.
    """
    table_format = _table_format(documents)
    others = {}
    for item in () if documents.multi_label else documents.test_documents:
        name, _, source = item.partition("=")
        try:
            examples = read_documents(source, table_format, cache, offline).examples
            others[name] = with_test(original, examples)
        except UserError as error:
            raise UserError(f"`test_documents={item}`: {error.problem}", error.remedy) from error
    return others


def _table_format(documents: DocumentConfig, image_column: str | None = None) -> TableFormat:
    return TableFormat(
        documents.encoding,
        documents.fallback_encoding,
        documents.text_column,
        documents.label_column,
        documents.split_column,
        image_column,
        documents.separator,
        documents.quoting,
    )


def load_configured_pairs(config: Config) -> PairData:
    """Reads, splits and audits the pairs that a configuration asks for, see `load_pairs`.

    With --sounds each gets one, see `with_sounds`; groups are those of the sounds then.

    Raises:
        UserError: when they are not there or cannot be learned from, and for sounds of two sources.
    """
    if config.scorer.sounds == "none":
        return _pairs(config)
    pairs = _pairs(replace(config, splits=replace(config.splits, group_column="", group_pattern="")))
    if "sound" in pairs.test.present:
        raise UserError(
            f"`sounds={config.scorer.sounds}` is for pairs without sounds, and `pairs={config.pairs.pairs}` "
            "has a column 'audio'",
            "leave one of them out",
        )
    # --class_names is for the pairs. What is not drawn of the sounds costs little.
    all_sounds = replace(config.splits, class_names=(), limit=0, train_examples=0)
    sounds = load_configured_sounds(replace(config, splits=all_sounds))
    return with_sounds(pairs, sounds, config.run.seed)


def _pairs(config: Config) -> PairData:
    return load_pairs(
        config.pairs.pairs,
        config.splits,
        seed=config.run.seed,
        cache=cache_folder(),
        offline=config.run.offline,
        table_format=replace(_table_format(config.documents, config.pairs.image_column), audio="audio"),
        image_folder=config.pairs.image_folder,
        misread=config.pairs.misread,
        typing_slips=config.pairs.typing_slips,
        bad_images=config.data.bad_images,
        max_pixels=config.data.max_pixels,
        sound=sound_format(config),
    )


def build_backbone(config: Config, name: str, weights: str, trainer: Trainer) -> keras.Model:
    """Builds an image backbone with the layers and the size that a configuration asks for.

    Args:
        config: all flags.
        name: of the architecture, as `image_backbone` takes it.
        weights: that it begins with; the trainer's seed sets those that are random.
        trainer: in whose scope it is built.
    """
    with trainer.scope():
        return image_backbone(
            name,
            config.data.image_size,
            config.image.features,
            pooling=config.image.pooling,
            weights=weights,
            cache=cache_folder(),
            offline=config.run.offline,
        )


def feature_cache(config: Config, writes: bool) -> FeatureCache | None:
    """Returns where features of frozen backbones are kept for other runs, None for a size of 0."""
    gigabytes = config.run.feature_cache_gb
    return FeatureCache(cache_folder() / "features", gigabytes, writes) if gigabytes > 0 else None

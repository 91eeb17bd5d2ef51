"""What the settings of a run name: data, networks and the feature cache."""

from pathlib import Path

import keras

from xmodal.config.config import Config
from xmodal.config.data import DataConfig, DocumentConfig
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import DataReport
from xmodal.data.document_sources import read_documents
from xmodal.data.documents import DocumentData, load_documents, with_test
from xmodal.data.images import ImageData, ImageSplit, load_images, load_unlabelled
from xmodal.data.pairs import PairData, load_pairs
from xmodal.data.tables import Reading
from xmodal.models.image_backbones import image_backbone
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.trainer import Trainer


def configured_images(config: Config) -> ImageData:
    """Reads, splits and audits the images that a configuration asks for, see `load_images`."""
    return load_images(
        config.data.dataset,
        cache=cache_folder(),
        offline=config.run.offline,
        class_names=config.data.class_names,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.run.seed,
        bad_images=config.data.bad_images,
        min_per_class=config.data.min_per_class,
        limit=config.data.limit,
        train_examples=config.data.train_examples,
        keep_leaks=config.data.keep_leaks,
        merge_names=config.data.merge_names,
        max_pixels=config.data.max_pixels,
    )


def configured_unlabelled(config: Config) -> tuple[ImageSplit, DataReport]:
    """Lists and audits the images without labels that a configuration names, see `load_unlabelled`."""
    return load_unlabelled(
        config.data.dataset,
        cache=cache_folder(),
        offline=config.run.offline,
        bad_images=config.data.bad_images,
    )


def configured_documents(
    data: DataConfig, documents: DocumentConfig, *, cache: Path, seed: int, offline: bool
) -> DocumentData:
    """Loads the documents that the flags of a run name; see `load_documents`.

    Args:
        data: how they are split and checked, as images are.
        documents: which ones, and how they are read.
        cache: folder of downloaded data.
        seed: of the cuts.
        offline: reach for nothing.
    """
    return load_documents(
        documents.documents,
        cache=cache,
        offline=offline,
        class_names=data.class_names,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        seed=seed,
        min_per_class=data.min_per_class,
        limit=data.limit,
        train_examples=data.train_examples,
        keep_leaks=data.keep_leaks,
        merge_names=data.merge_names,
        encoding=documents.encoding,
        fallback_encoding=documents.fallback_encoding,
        text_column=documents.text_column,
        label_column=documents.label_column,
        split_column=documents.split_column,
        group_column=documents.group_column,
        separator=documents.separator,
        quoting=documents.quoting,
    )


def other_test_documents(
    original: DocumentData, documents: DocumentConfig, *, cache: Path, offline: bool
) -> dict[str, DocumentData]:
    """Loads the other test sets that the flags of a run name, for a model trained on the original.

    Of each, the test split is taken, or everything where it has none; what else it holds is not looked at.

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
    reading = _reading(documents)
    others = {}
    for item in documents.test_documents:
        name, _, source = item.partition("=")
        try:
            examples = read_documents(source, reading, cache, offline).examples
            others[name] = with_test(original, examples)
        except UserError as error:
            raise UserError(f"--test_documents={item}: {error.problem}", error.remedy) from error
    return others


def _reading(documents: DocumentConfig, image_column: str | None = None) -> Reading:
    return Reading(
        documents.encoding,
        documents.fallback_encoding,
        documents.text_column,
        documents.label_column,
        documents.split_column,
        image_column,
        documents.separator,
        documents.quoting,
        documents.group_column,
    )


def configured_pairs(config: Config) -> PairData:
    """Reads, splits and audits the pairs that a configuration asks for, see `load_pairs`."""
    documents, data = config.documents, config.data
    return load_pairs(
        config.pairs.pairs,
        cache=cache_folder(),
        reading=_reading(documents, config.pairs.image_column),
        image_folder=config.pairs.image_folder,
        misread=config.pairs.misread,
        typing_slips=config.pairs.typing_slips,
        offline=config.run.offline,
        class_names=data.class_names,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        seed=config.run.seed,
        bad_images=data.bad_images,
        min_per_class=data.min_per_class,
        limit=data.limit,
        train_examples=data.train_examples,
        keep_leaks=data.keep_leaks,
        merge_names=data.merge_names,
        max_pixels=data.max_pixels,
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
            weights=weights,
            cache=cache_folder(),
            offline=config.run.offline,
        )


def feature_cache(config: Config, writes: bool) -> FeatureCache | None:
    """Returns where features of frozen backbones are kept for other runs, None for a size of 0."""
    gigabytes = config.run.feature_cache_gb
    return FeatureCache(cache_folder() / "features", gigabytes, writes) if gigabytes > 0 else None

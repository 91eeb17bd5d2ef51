"""Data sets of TensorFlow Datasets, prepared in the cache."""

from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.data.examples import SPLITS, Example


def prepare_builder(name: str, *, cache: Path, offline: bool, flag: str, instead: str):
    """Returns the builder of a data set that is downloaded and prepared.

    Args:
        name: as TFDS has it.
        cache: folder of downloaded data; TFDS's own folder counts too.
        offline: reach for nothing.
        flag: the flag that names the data set.
        instead: what else a user can do, as an instruction.

    Raises:
        UserError: when it cannot be had.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"`{flag}='tfds:{name}'` needs the package tensorflow-datasets ({error})",
            f"run pip install tensorflow-datasets, or {instead}",
        ) from error
    remedy = f"check the name and the network, or {instead}"
    if offline and ":" in name:
        raise UserError(f"the TFDS name {name!r} is looked up on the network, and `offline` is on", remedy)
    # TFDS's failures (network, checksums, missing packages, unknown names) have no class in common.
    try:
        builders = [tfds.builder(name, data_dir=folder) for folder in (cache / "tfds", None)]
        builder = next((builder for builder in builders if builder.is_prepared()), builders[0])
        if not offline:
            builder.download_and_prepare()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the TFDS data set {name!r} cannot be had: {type(error).__name__}: {reason}", remedy
        ) from error
    if not builder.is_prepared():
        raise UserError(
            f"the TFDS data set {name!r} is neither in {str(cache / 'tfds')!r} nor in TFDS's own folder, "
            "and `offline` is on",
            "run once without `offline`",
        )
    return builder


def require_features(builder, name: str, feature: str, label: str) -> None:
    """Refuses a data set without the features asked for.

    Args:
        builder: what `prepare_builder` returned.
        name: as TFDS has it.
        feature: the feature to learn from.
        label: the feature to learn, which must be a class label.

    Raises:
        UserError: naming the data set and both features.
    """
    import tensorflow_datasets as tfds

    features = dict(builder.info.features)
    if not isinstance(features.get(label), tfds.features.ClassLabel) or feature not in features:
        raise UserError(
            f"the TFDS data set {name!r} has no features named {feature} and {label}",
            "choose one for classification",
        )


def tfds_examples(
    builder, name: str, feature: str, label: str, *, encoded: bool
) -> tuple[list[Example], tuple[str, ...]]:
    """Reads the splits of a prepared data set.

    Args:
        builder: what `prepare_builder` returned.
        name: as TFDS has it, for the ids.
        feature: the feature that becomes an example's item.
        label: the feature of its class.
        encoded: take the feature's bytes as they are stored, such as JPEG.

    Returns:
        The examples, and the class names in the data's order.

    Raises:
        UserError: when a split has no labels.
    """
    import tensorflow_datasets as tfds

    decoders = {feature: tfds.decode.SkipDecoding()} if encoded else None
    class_names = tuple(builder.info.features[label].names)
    examples = []
    for split in [split for split in SPLITS if split in builder.info.splits]:
        rows = builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator()
        for number, row in enumerate(rows):
            if row[label] < 0:
                raise UserError(
                    f"the {split} split of the TFDS data set {name!r} has no labels",
                    "choose another data set",
                )
            examples.append(Example(row[feature], f"{name}/{split}/{number}", class_names[row[label]], split))
    return examples, class_names

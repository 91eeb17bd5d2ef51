"""Sounds for pairs that have none: for each a sound of the same class, from another data set."""

from dataclasses import replace

import numpy as np

from xmodal.bridge.class_names import readable
from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.examples import SPLITS, digests_of
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.pairs import PairData, PairSplit


def with_sounds(pairs: PairData, sounds: ImageData, seed: int = 0) -> PairData:
    """Gives each pair a sound of its class, drawn from the same split of another data set.

    Classes are the same that have the same readable name, such as "0" and "zero".

    Args:
        pairs: without sounds; of soft labels the most probable class counts.
        sounds: their splits and classes.
        seed: of the draws.

    Returns:
        The pairs; each split has those sounds that were drawn, and what was doubtful about the sounds is
        said.

    Raises:
        UserError: when a class of the pairs has no sound in the same split.

    Example:
        >>> data = with_sounds(load_pairs("mnist_5k"), load_images("spoken_digits"))
        >>> data.test.present["sound"].all()
        True
    """
    index_by_name = {readable(name): index for index, name in enumerate(sounds.class_names)}
    sound_labels = np.array([index_by_name.get(readable(name), -1) for name in pairs.class_names])
    parts = []
    for number, name in enumerate(SPLITS):
        split: PairSplit = getattr(pairs, name)
        sound_split: ImageSplit = getattr(sounds, name)
        target_labels = sound_labels[split.labels]
        missing_labels = [
            label for label in np.unique(split.labels) if sound_labels[label] not in sound_split.labels
        ]
        if missing_labels:
            names = first_few([repr(pairs.class_names[label]) for label in missing_labels])
            raise UserError(
                f"`sounds` has no {name} sound of the classes {names} of the pairs",
                "give sounds of all classes, from more speakers where groups are kept together",
            )
        parts.append(_draw_sounds(split, sound_split, target_labels, np.random.default_rng((seed, number))))
    warnings = [f"sounds: {warning}" for warning in sounds.report.warnings]
    report = replace(
        pairs.report,
        warnings=(*pairs.report.warnings, *warnings),
        digests=digests_of(parts, pairs.class_names),
    )
    train, validation, test = parts
    return replace(pairs, train=train, validation=validation, test=test, report=report)


def _draw_sounds(
    split: PairSplit, sounds: ImageSplit, target_labels: np.ndarray, rng: np.random.Generator
) -> PairSplit:
    """Draws a sound of the wanted class (N,) for each pair of a split."""
    row = np.empty(len(split), int)
    for label in np.unique(target_labels):
        mask = target_labels == label
        row[mask] = rng.choice(np.flatnonzero(sounds.labels == label), mask.sum())
    used_rows, row = np.unique(row, return_inverse=True)
    labels = np.empty(len(used_rows), np.int32)
    labels[row] = split.labels
    # Their classes are those of the pairs now.
    return replace(split, sounds=replace(sounds.take(used_rows), labels=labels, shares=None), sound_row=row)

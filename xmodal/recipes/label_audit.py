"""Doubtful labels: where pictures, the names that a speaker gives them, or texts disagree with them."""

import csv
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmodal.assets.presets import text_encoder_path
from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.core.files import write_text
from xmodal.core.formatting import printable, truncate
from xmodal.data.cleaned_documents import prepare_documents
from xmodal.data.documents import DocumentData, DocumentSplit, load_documents
from xmodal.data.images import ImageData, ImageSplit, load_images
from xmodal.evaluation.answer_sets import log_shares
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.label_doubts import LabelDoubts, label_doubts
from xmodal.evaluation.metrics import log_loss
from xmodal.export.answer_files import csv_cell
from xmodal.models.speakers import Speaker, make_speaker
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.seeing import see
from xmodal.report.figures import sheet, thumbnail
from xmodal.tasks.out_of_fold import out_of_fold
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.trainer import Trainer

# How a table begins that `write_cleaned` wrote, and one of doubtful labels.
CLEANED = re.compile(rb"\A(image|text),label,split\n")
DOUBTS = re.compile(rb"\Aexample,label,suggested,")
# Images that are read at once; of a sheet: pictures in a row and in all, and their longer side in pixels.
BATCH, COLUMNS, SHOWN, SIDE = 64, 8, 96, 128
# Of features that are kept for a run on the same images, or for another look.
GIGABYTES = 10.0


@dataclass(frozen=True)
class AuditedLabels:
    """What was found among the labels of training examples.

    Attributes:
        data: the examples.
        doubts: of the training split.
        probabilities: of the classes (N, C), of its examples, by models that did not learn from them.
    """

    data: ImageData | DocumentData
    doubts: LabelDoubts
    probabilities: np.ndarray


def audit(
    dataset: str | None,
    documents: str | None,
    *,
    reader: str,
    names: Path | None = None,
    cache: Path,
    folds: int = 5,
    seed: int = 0,
    length: int = 128,
    offline: bool = False,
    log: Callable[[str], None],
) -> AuditedLabels:
    """Reads images or documents, and looks for doubtful labels among those to train on.

    Args:
        dataset: images, as `load_images` takes them; None for documents.
        documents: as `load_documents` takes them.
        reader: the speaker that looks at images, or the encoder that reads documents.
        names: a file with the names of the speaker, where it has none.
        cache: folder of downloaded data, and of features.
        folds: how many parts the examples are cut into.
        seed: draws the parts.
        length: the most tokens that are read of a document.
        offline: download nothing.
        log: where progress goes.
    """
    # What comes without a test split is looked at as a whole.
    split = SplitConfig(validation_fraction=0.0, test_fraction=0.0, min_per_class=folds)
    trainer = Trainer(seed=seed, cache=FeatureCache(cache / "features", GIGABYTES), log=log)
    if dataset is not None:
        images = load_images(dataset, split, cache=cache, offline=offline)
        if images.train.medium:
            raise UserError(
                f"`dataset={dataset}` holds {images.train.medium.noun}s, and a speaker looks at images",
                "run experiments/vgg_to_bert.cfg on them, which tells what is wrong with the files",
            )
        with trainer.scope():
            speaker = make_speaker(reader, names, offline, cache)
        return audit_images(images, speaker, trainer, folds=folds)
    assert documents is not None
    texts = load_documents(documents, split, cache=cache, offline=offline)
    preset = text_encoder_path(reader, cache=cache, offline=offline)
    return audit_documents(texts, preset, trainer, folds=folds, length=length)


def audit_images(data: ImageData, speaker: Speaker, trainer: Trainer, *, folds: int) -> AuditedLabels:
    """Lets a speaker look at the training images, and asks which labels its features and its names doubt.

    There are two opinions, one read from the features and one from the names.

    Args:
        data: labelled images.
        speaker: a ready classifier.
        trainer: runs the speaker and trains the heads.
        folds: how many parts the images are cut into.
    """
    outputs = see(speaker, data.train, trainer, BATCH, name="seeing")
    names = np.sqrt(softmax(outputs.logits)).astype(np.float32)
    return _audit(data, (outputs.features, names), trainer, folds)


def audit_documents(
    data: DocumentData, preset: str, trainer: Trainer, *, folds: int, length: int
) -> AuditedLabels:
    """Reads the training documents, and asks which labels the vectors of their texts doubt.

    Args:
        data: labelled documents, as they were written; they are read as `bert_news` reads them.
        preset: the encoder, as `text_encoder` takes it.
        trainer: runs the encoder and trains the heads.
        folds: how many parts the documents are cut into.
        length: the most tokens that are read of a document.
    """
    with trainer.scope():
        encoder = text_encoder(preset, length)
    texts = prepare_documents(data, scrub=True).data.train.texts
    vectors = TextClassifier(encoder, encoder.model).vectors(texts, trainer)
    return _audit(data, (vectors,), trainer, folds)


def _audit(
    data: ImageData | DocumentData, rows: Sequence[np.ndarray], trainer: Trainer, folds: int
) -> AuditedLabels:
    labels, classes = data.train.labels, len(data.class_names)
    if np.bincount(labels, minlength=classes).min() < folds:
        raise UserError(
            f"a class has fewer than {folds} training examples, one for each of `folds={folds}`",
            "lower `folds`, or leave the class out",
        )
    opinions = [out_of_fold(part, labels, classes, trainer, folds=folds) for part in rows]
    log_opinions = log_shares(np.log(np.maximum(opinions, 1e-12)))
    # One of them, or all pooled with equal weights: what foretells the labels best.
    mean_opinion = softmax(log_opinions.mean(axis=0))
    probabilities = min([mean_opinion, *opinions], key=lambda part: log_loss(part, labels))
    return AuditedLabels(data, label_doubts(probabilities, labels), probabilities)


def doubts_csv(found: AuditedLabels) -> str:
    """Returns the doubtful labels as CSV, the worst first."""
    train, names = found.data.train, found.data.class_names
    head = ("example", "label", "suggested", "probability_of_label", "probability_of_suggested")
    rows = [
        (
            train.ids[index],
            names[train.labels[index]],
            names[found.doubts.suggested[index]],
            f"{found.probabilities[index, train.labels[index]]:.4f}",
            f"{found.probabilities[index, found.doubts.suggested[index]]:.4f}",
        )
        for index in found.doubts.worst_first
    ]
    return _csv([head, *([str(csv_cell(cell)) for cell in row] for row in rows)])


def doubts_table(found: AuditedLabels, most: int = 20) -> str:
    """Returns how many labels are doubtful, and the worst of them, for the console."""
    train, names, worst = found.data.train, found.data.class_names, found.doubts.worst_first
    lines = [f"{len(worst):,} of {len(train):,} labels are doubtful"]
    for index in worst[:most]:
        text = f"{names[train.labels[index]]}, rather {names[found.doubts.suggested[index]]}"
        lines.append(f"  {truncate(printable(train.ids[index]), 50, keep='end')}: {printable(text)}")
    return "\n".join(lines)


def doubts_sheet(found: AuditedLabels) -> bytes:
    """Draws the pictures with the most doubtful labels, each with its label and the suggested one, as PNG."""
    train, names = found.data.train, found.data.class_names
    assert isinstance(train, ImageSplit)
    worst = found.doubts.worst_first[:SHOWN]
    rows = []
    for start in range(0, len(worst), COLUMNS):
        pictures = [
            (
                thumbnail(train.encoded(index), SIDE),
                f"{names[train.labels[index]]}? {names[found.doubts.suggested[index]]}",
            )
            for index in worst[start : start + COLUMNS]
        ]
        rows.append((f"labels in doubt, {start + 1} to {start + len(pictures)}: label? rather", pictures))
    return sheet(rows)


def write_cleaned(found: AuditedLabels, path: Path, *, relabel: bool, overwrite: bool) -> int:
    """Writes a table of all examples, of which doubtful ones are left out or have the suggested label.

    `--dataset=csv:PATH`, or `--documents=csv:PATH`, reads it; the splits stay as they were.

    Args:
        found: the labels.
        path: a CSV.
        relabel: keep doubtful examples, under the suggested labels.
        overwrite: replace another file.

    Returns:
        How many examples were left out or have another label.

    Raises:
        UserError: for images that are in no files of their own.
    """
    rows = []
    for name in ("train", "validation", "test"):
        split = getattr(found.data, name)
        column, contents = _contents(split, path)
        labels, keep_mask = split.labels, np.ones(len(split), bool)
        if name == "train":
            labels = found.doubts.suggested if relabel else labels
            keep_mask = keep_mask if relabel else ~found.doubts.doubtful
        rows += [
            (contents[int(index)], found.data.class_names[labels[index]], name)
            for index in np.flatnonzero(keep_mask)
        ]
    try:
        write_text(path, _csv([(column, "label", "split"), *rows]), CLEANED, overwrite=overwrite)
    except UnicodeEncodeError as error:
        raise UserError(
            f"a path or a text in the data is not in UTF-8 ({error.object[:60]!a})", "rename or fix it"
        ) from error
    return int(found.doubts.doubtful.sum())


def _contents(split: ImageSplit | DocumentSplit, path: Path) -> tuple[str, Sequence[str]]:
    if isinstance(split, DocumentSplit):
        return "text", [str(text) for text in split.texts]
    if split.in_memory and len(split):
        raise UserError(
            "the images of this data set are in no files of their own, which a table could name",
            "give them as folder:PATH or csv:PATH",
        )
    return "image", [os.path.relpath(item, path.parent) for item in split.items]


def _csv(rows: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()

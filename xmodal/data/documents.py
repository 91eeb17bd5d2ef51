"""Documents from a named set, a folder of .txt files, a table or TFDS, checked and split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmodal import assets
from xmodal.config import DataConfig, DocumentConfig
from xmodal.data.audit import DataReport, Scan, audit
from xmodal.data.folders import files_under, printable, split_folders
from xmodal.data.splits import (
    DOCUMENTS,
    SPLIT_WORDS,
    SPLITS,
    Example,
    Labelled,
    columns,
    divide,
    renamed,
)
from xmodal.data.tables import (
    MOST_BYTES,
    TABLES,
    Listing,
    Reading,
    decoded,
    fallen_warning,
    read_tables,
    require_encodings,
)
from xmodal.data.tfds import prepared_builder, require_features, tfds_examples
from xmodal.errors import UserError, nearest
from xmodal.files import path_of

NAMED = ("20newsgroups", "reuters_r8", "reuters_r52")


@dataclass(frozen=True)
class DocumentSplit(Labelled):
    """One split of N documents.

    Attributes:
        texts: (N,) objects, each a str.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each document: its path, its line in a table, or such as "reuters_r8/test/7".
        shares: of the classes (N, C), where labels are soft.
    """

    texts: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class DocumentData:
    """The three splits of a data set, the names of its C classes, and what the audit found."""

    train: DocumentSplit
    validation: DocumentSplit
    test: DocumentSplit
    class_names: tuple[str, ...]
    report: DataReport


def load_documents(
    dataset: str,
    *,
    cache: Path,
    offline: bool = False,
    class_names: Sequence[str] = (),
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    min_per_class: int = 2,
    limit: int = 0,
    train_examples: int = 0,
    keep_leaks: bool = True,
    encoding: str = "utf-8",
    fallback_encoding: str | None = None,
    text_column: str = "text",
    label_column: str = "label",
    split_column: str = "split",
) -> DocumentData:
    """Reads, splits and audits a set of documents.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one document of each. Which ones, depends on the
    seed and their ids alone. Documents without a word are left out; those with the same words, twice in
    a split or in train and test, are reported.

    Args:
        dataset: "20newsgroups", "reuters_r8" or "reuters_r52" with their standard test splits; "dir:PATH"
            (.txt files, the class a subfolder or the number before the first dot of the file's name,
            either right there or in train/, val/ and test/); "csv:PATH", "tsv:PATH" or "jsonl:PATH" (a
            file, or a folder with the files train.csv, dev.csv, test.csv and so on); or "tfds:NAME".
        cache: folder of downloaded data.
        offline: reach for nothing.
        class_names: names in place of the data's own, in the data's order: alphabetical, or by value when
            all are whole numbers.
        validation_fraction: share of train that becomes validation.
        test_fraction: share of train that becomes test.
        seed: of the cuts and of `limit`.
        min_per_class: fewest training documents that a class may have.
        limit: most training documents, classes kept in proportion; the other splits shrink alike. 0 is all.
        train_examples: most documents that train has before validation is cut from it, classes kept in
            proportion; a split that the data comes with stays whole. 0 is all.
        keep_leaks: keep train and validation documents that stand in test too; reported in any case.
        encoding: of the files.
        fallback_encoding: of files that are not in `encoding`; without it they are an error.
        text_column: the column, or key, or TFDS feature, of the text.
        label_column: that of the class. Soft labels of a table stand in columns LABEL:NAME in its place, one
            for each class, with shares that are scaled to a sum of 1; in JSON Lines also in an object under
            its key.
        split_column: that of the split ("train", "val", "dev", "test", ...), which a table may lack.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.
    """
    reading = Reading(encoding, fallback_encoding, text_column, label_column, split_column)
    require_encodings(reading)
    try:
        listing = _read(dataset, reading, cache, offline)
    except PermissionError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror})", "allow reading it"
        ) from error
    examples, names = divide(
        listing.examples,
        dataset=dataset,
        things=DOCUMENTS,
        own_names=listing.class_names,
        class_names=class_names,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        limit=limit,
        train_examples=train_examples,
        min_per_class=min_per_class,
        seed=seed,
    )
    examples, report = audit(
        examples,
        [_scan(str(example.item)) for example in examples],
        things=DOCUMENTS,
        class_names=names,
        min_per_class=min_per_class,
        keep_leaks=keep_leaks,
    )
    report = replace(report, warnings=listing.warnings + report.warnings)
    train, validation, test = (DocumentSplit(*columns(examples, split, names)) for split in SPLITS)
    return DocumentData(train, validation, test, names, report)


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
        encoding=documents.encoding,
        fallback_encoding=documents.fallback_encoding,
        text_column=documents.text_column,
        label_column=documents.label_column,
        split_column=documents.split_column,
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
            examples = _read(source, reading, cache, offline).examples
            others[name] = _with_test(original, examples)
        except UserError as error:
            raise UserError(f"--test_documents={item}: {error.problem}", error.remedy) from error
    return others


def _with_test(original: DocumentData, examples: list[Example]) -> DocumentData:
    names = original.class_names
    tested = [example for example in examples if example.split == "test"] or examples
    for example in tested:
        for name in example.named:
            if name not in names:
                raise UserError(
                    f"class {name!r} ({example.id!r}) does not stand in train",
                    f"its classes must be among {', '.join(names)}",
                )
    same = dict(zip(names, names, strict=True))
    learned = [
        Example(text, document, names[label], split_name)
        for split_name, split in (("train", original.train), ("validation", original.validation))
        for text, label, document in zip(split.texts, split.labels, split.ids, strict=True)
    ]
    both = learned + [renamed(example, same)._replace(split="test") for example in tested]
    kept, report = audit(
        both,
        [_scan(str(example.item)) for example in both],
        things=DOCUMENTS,
        class_names=names,
        min_per_class=0,
        keep_leaks=True,
    )
    # What was said of the training documents before need not be said again.
    warnings = tuple(line for line in report.warnings if line not in original.report.warnings)
    return replace(
        original,
        test=DocumentSplit(*columns(kept, "test", names)),
        report=replace(report, warnings=warnings),
    )


def _reading(documents: DocumentConfig) -> Reading:
    return Reading(
        documents.encoding,
        documents.fallback_encoding,
        documents.text_column,
        documents.label_column,
        documents.split_column,
    )


def _scan(text: str) -> Scan:
    # Line ends and indentation differ between copies of one document.
    words = " ".join(text.split())
    if not words:
        return Scan(b"", "empty")
    return Scan(hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "")


def _read(dataset: str, reading: Reading, cache: Path, offline: bool) -> Listing:
    source, _, place = dataset.partition(":")
    path = path_of(place)
    if dataset in NAMED:
        return _read_named(dataset, cache, offline)
    if source == "dir" and place:
        return _read_folder(path, reading)
    if source in TABLES and place:
        return read_tables(source, path, reading)
    if source == "tfds" and place:
        return _read_tfds(place, reading, cache, offline)
    if path_of(dataset).exists():
        suffix = Path(dataset).suffix.removeprefix(".")
        kind = suffix if suffix in TABLES else "dir"
        raise UserError(
            f"--documents={dataset!r} does not say what it is", f"did you mean '{kind}:{dataset}'?"
        )
    forms = {name: name for name in NAMED} | {kind: f"{kind}:PATH" for kind in ("dir", *TABLES)}
    forms["tfds"] = "tfds:NAME"
    if source in forms:
        raise UserError(f"--documents={dataset!r} is not complete", f"write it as {forms[source]}")
    raise UserError(
        f"unknown --documents={dataset!r} (there are {', '.join(forms.values())})", nearest(source, forms)
    )


def _read_named(name: str, cache: Path, offline: bool) -> Listing:
    """Reads Orange's tables: three lines of heading, then a class, a tab and a text without tabs."""
    folder = assets.locate(name, cache=cache, offline=offline)
    examples = []
    for split in ("train", "test"):
        lines = (folder / f"{split}.tab").read_text(encoding="utf-8").split("\n")
        # Those of reuters_r52 have a blank line more.
        for number, line in enumerate(line for line in lines[3:] if line.strip()):
            class_name, _, text = line.partition("\t")
            examples.append(Example(text, f"{name}/{split}/{number}", class_name, split))
    return Listing(examples)


# A folder of .txt files.


def _read_folder(root: Path, reading: Reading) -> Listing:
    if not root.is_dir():
        raise UserError(f"the folder {str(root)!r} does not exist", "check the path of --documents")
    # A folder named train without a split beside it may be a class.
    beside = [path.name for path in root.iterdir() if path.is_dir() and path.name != "train"]
    splits, warnings = split_folders(root, flat=any(name in SPLIT_WORDS for name in beside))
    examples: list[Example] = []
    fallen: list[str] = []
    others = 0
    for split, folder in splits.items():
        files = files_under(folder)
        texts = [path for path in files if path.suffix.lower() == ".txt"]
        others += len(files) - len(texts)
        if not texts:
            raise UserError(f"the folder {str(folder)!r} holds no .txt files", "put the documents in it")
        for path in texts:
            name = printable(path.relative_to(root))
            text = decoded(_content(path), name, reading, fallen)
            examples.append(Example(text, name, _label(path.relative_to(folder), path), split))
    if others:
        warnings += (f"files other than .txt, which are not read: {others}",)
    return Listing(examples, warnings=warnings + fallen_warning(fallen, reading))


def _label(inside: Path, path: Path) -> str:
    """Returns the class of a file: its folder's name, or else the number that starts its own."""
    if len(inside.parts) > 1:
        return inside.parts[0]
    number, dot, _ = inside.name.partition(".")
    if not dot or not number.isdecimal():
        raise UserError(
            f"the file {str(path)!r} has no label",
            "put it in a folder named after its class, or start its name with a number and a dot",
        )
    return str(int(number))


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(
            f"the file {str(path)!r} holds {size / 2**20:,.0f} MB, more than the {MOST_BYTES // 2**20} MB "
            "of the longest document",
            "cut it into documents or remove it",
        )
    return path.read_bytes()


def _read_tfds(name: str, reading: Reading, cache: Path, offline: bool) -> Listing:
    instead = "give the documents as dir:PATH or csv:PATH"
    builder = prepared_builder(name, cache=cache, offline=offline, flag="documents", instead=instead)
    require_features(builder, name, reading.text, reading.label)
    rows, class_names = tfds_examples(builder, name, reading.text, reading.label, encoded=False)
    fallen: list[str] = []
    examples = []
    for row in rows:
        assert isinstance(row.item, bytes)
        examples.append(row._replace(item=decoded(row.item, row.id, reading, fallen)))
    return Listing(examples, class_names, fallen_warning(fallen, reading))

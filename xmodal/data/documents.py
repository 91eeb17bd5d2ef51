"""Documents, checked and split."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.core.formatting import first_few
from xmodal.data.audit import DataReport, Scan, audit
from xmodal.data.document_sources import read_documents
from xmodal.data.near_duplicates import near_duplicates
from xmodal.data.similar_names import without_look_alikes
from xmodal.data.splits import (
    DOCUMENTS,
    LOSSLESS,
    SPLITS,
    Example,
    ExampleSplit,
    columns,
    digests_of,
    divide,
    renamed,
)
from xmodal.data.tables import Reading, require_encodings
from xmodal.text.cleaning import prepare_texts

# With more, the comparison of nearly equal documents would take minutes.
MOST_COMPARED = 20_000


@dataclass(frozen=True)
class DocumentSplit(ExampleSplit):
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

    @property
    def contents(self) -> Iterator[bytes]:
        """Each text as UTF-8."""
        return (text.encode(*LOSSLESS) for text in self.texts)

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
    cache: Path | None = None,
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
    group_column: str = "",
    separator: str = "auto",
    quoting: bool = False,
    merge_names: bool = False,
) -> DocumentData:
    """Reads, splits and audits a set of documents.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one document of each. Which ones, depends on the
    seed and their ids alone; documents with the same words, once cleaned, come into the same split. Those
    of which cleaning leaves nothing are left out; those with the same words, twice in a split or in train
    and test, are reported, as are those of two splits that are nearly the same.

    Args:
        dataset: "20newsgroups", "reuters_r8" or "reuters_r52" with their standard test splits; "dir:PATH"
            (.txt files, the class a subfolder or the number before the first dot of the file's name,
            either right there or in train/, val/ and test/); "csv:PATH", "tsv:PATH" or "jsonl:PATH" (a
            file, or a folder with the files train.csv, dev.csv, test.csv and so on); or "tfds:NAME".
        cache: folder of downloaded data; None for the usual one.
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
        group_column: that of what belongs into one split together, such as an author; "" for none.
        separator: between the columns of a CSV or TSV; "auto" for the one with which the columns are there.
        quoting: texts of a TSV may stand in quotes, as those of a CSV do.
        merge_names: make one class of those whose names look alike, such as "Spam" and "spam".

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_documents("dir:letters", min_per_class=2)
        >>> data.class_names, len(data.train)
        (('cat', 'dog'), 29)
    """
    reading = Reading(
        encoding,
        fallback_encoding,
        text_column,
        label_column,
        split_column,
        separator=separator,
        quoting=quoting,
        group=group_column,
    )
    require_encodings(reading)
    try:
        listing = read_documents(dataset, reading, cache or cache_folder(), offline)
    except PermissionError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror})", "allow reading it"
        ) from error
    found, changed, alike = without_look_alikes(listing.examples, merge_names)
    scans = _scans(found)
    grouped = [
        example._replace(group=example.group or scans[example.item].digest or example.id) for example in found
    ]
    examples, names = divide(
        grouped,
        dataset=dataset,
        things=DOCUMENTS,
        own_names=tuple(name for name in listing.class_names if name not in changed),
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
        [scans[example.item] for example in examples],
        things=DOCUMENTS,
        class_names=names,
        min_per_class=min_per_class,
        keep_leaks=keep_leaks,
    )
    parts = [DocumentSplit(*columns(examples, split, names)) for split in SPLITS]
    warnings = (*listing.warnings, *alike, *report.warnings, *_wordless(examples), *_nearly_same(examples))
    report = replace(report, warnings=warnings, digests=digests_of(parts, names))
    train, validation, test = parts
    return DocumentData(train, validation, test, names, report)


def with_test(original: DocumentData, examples: list[Example]) -> DocumentData:
    """Returns documents with other ones (examples of the same classes) as their test split, audited.

    Raises:
        UserError: when one of them has a class that there is nothing to learn of.
    """
    names = original.class_names
    tested = [example for example in examples if example.split == "test"] or examples
    for example in tested:
        for name in example.named:
            if name not in names:
                raise UserError(
                    f"class {name!r} ({example.id!r}) does not stand in train",
                    f"its classes must be among {first_few(names, 10)}",
                )
    same = dict(zip(names, names, strict=True))
    learned = [
        Example(text, document, names[label], split_name)
        for split_name, split in (("train", original.train), ("validation", original.validation))
        for text, label, document in zip(split.texts, split.labels, split.ids, strict=True)
    ]
    both = learned + [renamed(example, same)._replace(split="test") for example in tested]
    scans = _scans(both)
    kept, report = audit(
        both,
        [scans[example.item] for example in both],
        things=DOCUMENTS,
        class_names=names,
        min_per_class=0,
        keep_leaks=True,
    )
    # What was said of the training documents before need not be said again.
    warnings = tuple(line for line in report.warnings if line not in original.report.warnings)
    test = DocumentSplit(*columns(kept, "test", names))
    return replace(
        original,
        test=test,
        report=replace(report, warnings=warnings, digests=digests_of([test], names)),
    )


def _scans(examples: Sequence[Example]) -> dict[str | bytes, Scan]:
    """Looks at every text as BERT reads it: cleaned, in small letters."""
    distinct = list(dict.fromkeys(example.item for example in examples))
    texts, _ = prepare_texts([str(text) for text in distinct], scrub=False)
    return {item: _scan(item, text) for item, text in zip(distinct, texts, strict=True)}


def _scan(text: str | bytes, cleaned: str) -> Scan:
    words = cleaned.lower()
    if not words:
        return Scan(b"", "empty once it is cleaned" if str(text).strip() else "empty")
    return Scan(hashlib.blake2b(words.encode(*LOSSLESS), digest_size=16).digest(), "")


def _wordless(examples: Sequence[Example]) -> tuple[str, ...]:
    names = [repr(example.id) for example in examples if not re.search(r"[^\W_]", str(example.item))]
    return (f"documents without a word: {len(names)}, such as {first_few(names)}",) if names else ()


def _nearly_same(examples: Sequence[Example]) -> tuple[str, ...]:
    """Warns of documents that are not the same as, but nearly as, one of another split."""
    if len(examples) > MOST_COMPARED:
        return ()
    # Those with the same words are told already.
    first = {example.digest: example for example in reversed(examples)}
    distinct = [example for example in examples if first[example.digest] is example]
    pairs = near_duplicates(
        [str(example.item) for example in distinct], [example.split for example in distinct]
    )
    told = [f"{distinct[one].id!r} ~ {distinct[other].id!r}" for one, other in pairs]
    if not told:
        return ()
    return (f"documents that are nearly the same as one of another split: {len(told)}, {first_few(told)}",)

"""Documents, checked and split."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.core.formatting import first_few
from xmodal.data.audit import Scan, audit
from xmodal.data.document_sources import read_documents
from xmodal.data.examples import (
    DOCUMENTS,
    LOSSLESS,
    Columns,
    Example,
    ExampleSplit,
    columns,
    digests_of,
    rename_classes,
)
from xmodal.data.loading import SplitData, split_and_audit
from xmodal.data.near_duplicates import near_duplicates
from xmodal.data.several_labels import with_several_labels
from xmodal.data.table_format import TableFormat, check_format
from xmodal.text.cleaning import prepare_texts

# With more, the comparison of nearly equal documents would take minutes.
MAX_COMPARED = 20_000


@dataclass(frozen=True)
class DocumentSplit(ExampleSplit):
    """One split of N documents.

    Attributes:
        texts: (N,) objects, each a str.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each document: its path, its line in a table, or such as "reuters_r8/test/7".
        shares: of the classes (N, C), where labels are soft, or several each.
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


DocumentData = SplitData[DocumentSplit]


def load_documents(
    dataset: str,
    split: SplitConfig = SplitConfig(),
    *,
    seed: int = 0,
    cache: Path | None = None,
    offline: bool = False,
    table_format: TableFormat = TableFormat(),
) -> DocumentData:
    """Reads, splits and audits a set of documents, see `split_and_audit`.

    Documents with the same words, once cleaned, come into the same split. Those of which cleaning leaves
    nothing are left out; those with the same words, twice in a split or in train and test, are reported, as
    are those of two splits that are nearly the same.

    Args:
        dataset: "20newsgroups", "reuters_r8" or "reuters_r52" with their standard test splits; "dir:PATH"
            (.txt files, the class a subfolder or the number before the first dot of the file's name,
            either right there or in train/, val/ and test/); "csv:PATH", "tsv:PATH" or "jsonl:PATH" (a
            file, or a folder with the files train.csv, dev.csv, test.csv and so on); "tfds:NAME"; or
            "hf:NAME" of the Hugging Face hub.
        split: how they are split and checked.
        seed: of the cuts and of `limit`.
        cache: folder of downloaded data; None for the usual one.
        offline: reach for nothing.
        table_format: encodings, and columns, keys or TFDS features.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_documents("dir:letters", SplitConfig(min_per_class=2))
        >>> data.class_names, len(data.train)
        (('cat', 'dog'), 29)
    """
    table_format = check_format(table_format, split.group_column)
    raw = read_documents(dataset, table_format, cache or cache_folder(), offline)
    if table_format.several:
        raw = with_several_labels(raw, table_format)
    scans = _scans(raw.examples)
    grouped_examples = [
        example._replace(group=example.group or scans[example.item].digest or example.id)
        for example in raw.examples
    ]
    return split_and_audit(
        replace(raw, examples=grouped_examples),
        split,
        dataset=dataset,
        kind=DOCUMENTS,
        seed=seed,
        scan=lambda examples: (examples, [scans[example.item] for example in examples], ()),
        as_split=_document_split,
        doubts=lambda examples: (*_wordless_warning(examples), *_near_duplicate_warning(examples)),
    )


def with_test(original: DocumentData, examples: list[Example]) -> DocumentData:
    """Returns documents with other ones (examples of the same classes) as their test split, audited.

    Raises:
        UserError: when one of them has a class that there is nothing to learn of.
    """
    names = original.class_names
    test_examples = [example for example in examples if example.split == "test"] or examples
    for example in test_examples:
        for name in example.named:
            if name not in names:
                raise UserError(
                    f"class {name!r} ({example.id!r}) does not stand in train",
                    f"its classes must be among {first_few(names, 10)}",
                )
    same_names = dict(zip(names, names, strict=True))
    original_examples = [
        Example(text, document, names[label], split_name)
        for split_name, split in (("train", original.train), ("validation", original.validation))
        for text, label, document in zip(split.texts, split.labels, split.ids, strict=True)
    ]
    all_examples = original_examples + [
        rename_classes(example, same_names)._replace(split="test") for example in test_examples
    ]
    scans = _scans(all_examples)
    audited_examples, report = audit(
        all_examples,
        [scans[example.item] for example in all_examples],
        kind=DOCUMENTS,
        class_names=names,
        min_per_class=0,
        keep_leaks=True,
    )
    # What was said of the training documents before need not be said again.
    warnings = tuple(line for line in report.warnings if line not in original.report.warnings)
    test = _document_split(columns(audited_examples, "test", names))
    return replace(
        original,
        test=test,
        report=replace(report, warnings=warnings, digests=digests_of([test], names)),
    )


def _document_split(columns: Columns) -> DocumentSplit:
    return DocumentSplit(columns.items, columns.labels, columns.ids, columns.shares)


def _scans(examples: Sequence[Example]) -> dict[str | bytes, Scan]:
    """Looks at every text as BERT reads it: cleaned, in small letters."""
    distinct_texts = list(dict.fromkeys(example.item for example in examples))
    texts, _ = prepare_texts([str(text) for text in distinct_texts], scrub=False)
    return {item: _scan(item, text) for item, text in zip(distinct_texts, texts, strict=True)}


def _scan(text: str | bytes, cleaned: str) -> Scan:
    words = cleaned.lower()
    if not words:
        return Scan(b"", "empty once it is cleaned" if str(text).strip() else "empty")
    return Scan(hashlib.blake2b(words.encode(*LOSSLESS), digest_size=16).digest(), "")


def _wordless_warning(examples: Sequence[Example]) -> tuple[str, ...]:
    names = [repr(example.id) for example in examples if not re.search(r"[^\W_]", str(example.item))]
    return (f"documents without a word: {len(names)}, such as {first_few(names)}",) if names else ()


def _near_duplicate_warning(examples: Sequence[Example]) -> tuple[str, ...]:
    """Warns of documents that are not the same as, but nearly as, one of another split."""
    if len(examples) > MAX_COMPARED:
        return ()
    # Those with the same words are told already.
    first_by_digest = {example.digest: example for example in reversed(examples)}
    distinct_examples = [example for example in examples if first_by_digest[example.digest] is example]
    pairs = near_duplicates(
        [str(example.item) for example in distinct_examples], [example.split for example in distinct_examples]
    )
    names = [f"{distinct_examples[one].id!r} ~ {distinct_examples[other].id!r}" for one, other in pairs]
    if not names:
        return ()
    return (f"documents that are nearly the same as one of another split: {len(names)}, {first_few(names)}",)

"""The loaders of `xmodal.data` with plain options, and two training examples of a class as enough."""

from dataclasses import fields
from typing import Any

from xmodal.config.data import SplitConfig
from xmodal.data import documents, images, pairs
from xmodal.data.table_format import TableFormat

SPLIT = {field.name for field in fields(SplitConfig)}
# As the options of a run are called.
COLUMNS = {
    "text_column": "text",
    "label_column": "label",
    "split_column": "split",
    "group_column": "group",
    "fallback_encoding": "fallback",
    **{name: name for name in ("encoding", "separator", "quoting")},
}


def load_images(dataset: str, **options: Any) -> images.ImageData:
    return images.load_images(dataset, _split(options), **options)


def load_pairs(source: str, **options: Any) -> pairs.PairData:
    return pairs.load_pairs(source, _split(options), **options)


def load_documents(dataset: str, **options: Any) -> documents.DocumentData:
    split = _split(options)
    columns = {COLUMNS[name]: options.pop(name) for name in COLUMNS if name in options}
    return documents.load_documents(dataset, split, table_format=TableFormat(**columns), **options)


def _split(options: dict[str, Any]) -> SplitConfig:
    return SplitConfig(**{"min_per_class": 2} | {name: options.pop(name) for name in SPLIT & set(options)})

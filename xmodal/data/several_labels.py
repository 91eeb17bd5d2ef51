"""Examples with several labels each, or none: targets of 0 and 1 in the place of a class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from xmodal.core.errors import UserError
from xmodal.data.examples import Example
from xmodal.data.sources import RawExamples
from xmodal.data.table_format import BETWEEN, COLUMNS, TableFormat


def with_several_labels(raw: RawExamples, table_format: TableFormat) -> RawExamples:
    """Reads the label of each example as several ones.

    Each gets a share of 1 of every label that it has, and of 0 of the others. Its class, by which splits are
    cut, is the rarest of its labels, so that rare ones come into all splits; of those without a label it is
    the most frequent one.

    Args:
        raw: examples as they came.
        table_format: tells what stands between labels.

    Raises:
        UserError: for examples that have shares of classes, and where no label occurs.
    """
    separator = BETWEEN if table_format.several == COLUMNS else table_format.several
    soft_id = next((example.id for example in raw.examples if example.shares is not None), None)
    if soft_id is not None:
        raise UserError(
            f"{soft_id!r} has shares of classes, and `multi_label={table_format.several}` wants labels",
            "name columns of 0 and 1 with `label_column`, or leave `multi_label` out",
        )
    labels = [_split(example.class_name, separator) for example in raw.examples]
    counts = Counter(label for own_labels in labels for label in own_labels)
    names = table_format.label_columns if separator == BETWEEN else tuple(sorted(counts))
    if not counts:
        raise UserError(f"no example has a label between {table_format.several!r}", "check `label_column`")
    bad_label = next((label for label in counts if label not in names), None)
    if bad_label is not None:
        raise UserError(
            f"`multi_label={COLUMNS}` wants a table, and the class {bad_label!r} is from none of its columns",
            "give what stands between labels, such as |",
        )
    frequent_label = max(names, key=counts.__getitem__)
    examples = [
        _example(example, own_labels, names, min(own_labels, key=counts.__getitem__, default=frequent_label))
        for example, own_labels in zip(raw.examples, labels, strict=True)
    ]
    return replace(raw, examples=examples)


def _split(label: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, label.split(separator)))))


def _example(example: Example, labels: Sequence[str], names: Sequence[str], class_name: str) -> Example:
    return example._replace(class_name=class_name, shares={name: float(name in labels) for name in names})

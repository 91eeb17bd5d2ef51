"""From raw examples to audited splits: what all loaders share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from xmodal.config.data import SplitConfig
from xmodal.data.audit import DataReport, Scan, audit
from xmodal.data.examples import (
    FURTHER,
    SPLITS,
    Columns,
    Example,
    ExampleKind,
    ExampleSplit,
    columns,
    digests_of,
)
from xmodal.data.similar_names import without_look_alikes
from xmodal.data.sources import RawExamples
from xmodal.data.splits import divide, divided_groups, with_groups

Split = TypeVar("Split", bound=ExampleSplit)
# Examples, what was found of each, and warnings.
Scanned = tuple[list[Example], list[Scan], tuple[str, ...]]


@dataclass(frozen=True)
class SplitData(Generic[Split]):
    """The three splits of a data set, the names of its C classes, and what the audit found."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    report: DataReport


def split_and_audit(
    raw: RawExamples,
    config: SplitConfig,
    *,
    dataset: str,
    kind: ExampleKind,
    seed: int,
    scan: Callable[[list[Example]], Scanned],
    as_split: Callable[[Columns], Split],
    doubts: Callable[[Sequence[Example]], tuple[str, ...]] = lambda _: (),
    bad_images: str = "skip",
) -> SplitData[Split]:
    """Splits and audits examples as they came.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one example of each. Which ones, depends on the seed
    and their ids alone, so that it is the same on every machine. No such cut goes between examples that hold
    the same.

    Args:
        raw: what a source holds.
        config: how it is split and checked.
        dataset: how messages name the data.
        kind: what the examples are.
        seed: of the cuts and of `limit`.
        scan: looks at what each of the examples holds that are left once they are split.
        as_split: makes a split of its columns.
        doubts: warnings of the examples that the audit leaves.
        bad_images: what to do with what cannot be used: "skip" or "fail".

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data cannot be learned from.
    """
    examples = with_groups(raw.examples, config.group_pattern)
    examples, new_names, name_warnings = without_look_alikes(examples, config.merge_names)
    own_names = tuple(name for name in raw.class_names if name not in new_names)
    examples, names = divide(examples, config, dataset=dataset, kind=kind, own_names=own_names, seed=seed)
    group_warnings = divided_groups(examples) if config.group_pattern or config.group_column else ()
    examples, scans, scan_warnings = scan(_as_train(examples))
    own_splits = {example.split for example in raw.examples}
    examples = _with_their_like(examples, scans, [split for split in SPLITS if split not in own_splits])
    examples, report = audit(
        examples,
        scans,
        kind=kind,
        class_names=names,
        min_per_class=config.min_per_class,
        keep_leaks=config.keep_leaks,
        bad_images=bad_images,
    )
    train, validation, test = (as_split(columns(examples, split, names)) for split in SPLITS)
    warnings = (*raw.warnings, *name_warnings, *group_warnings, *scan_warnings)
    digests = digests_of([train, validation, test], names)
    report = replace(report, warnings=(*warnings, *report.warnings, *doubts(examples)), digests=digests)
    return SplitData(train, validation, test, names, report)


def _as_train(examples: Sequence[Example]) -> list[Example]:
    """Lets what came from another source be learned from, now that nothing more is cut from train."""
    return [example._replace(split="train") if example.split == FURTHER else example for example in examples]


def _with_their_like(
    examples: Sequence[Example], scans: Sequence[Scan], cut_splits: Sequence[str]
) -> list[Example]:
    """Brings examples that hold the same, such as pixels in files of two kinds, into the split of the first.

    Args:
        examples: with their splits.
        scans: what was found of each.
        cut_splits: those that were cut from train; those that the data came with stay as they are.
    """
    movable_splits = {"train", *cut_splits} if cut_splits else set()
    split_by_digest: dict[bytes, str] = {}
    moved_examples = []
    for example, scan in zip(examples, scans, strict=True):
        if scan.digest and example.split in movable_splits:
            example = example._replace(split=split_by_digest.setdefault(scan.digest, example.split))
        moved_examples.append(example)
    return moved_examples

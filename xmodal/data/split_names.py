"""What folders, files and columns call the splits."""

import re
from collections import Counter
from collections.abc import Sequence

from xmodal.core.errors import UserError, nearest
from xmodal.core.formatting import first_few
from xmodal.data.examples import SPLITS, Example

# What folders, files and columns call them, in any case.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "训练"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("eval", "evaluation", "验证"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout", "测试"), "test"),
}
# What may follow them, as in "training_set".
SPLIT_ENDINGS = ("set", "data", "split", "images", "集")


def split_of(word: str) -> str:
    """Returns the split that the name of a folder or file, or a word of a table, stands for; "" for none."""
    letters = re.sub(r"[\s_.-]", "", word.casefold())
    for ending in ("", *SPLIT_ENDINGS):
        if letters.endswith(ending) and (split := SPLIT_WORDS.get(letters.removesuffix(ending))):
            return split
    return ""


def with_splits(examples: Sequence[Example], where: str) -> tuple[list[Example], tuple[str, ...]]:
    """Puts splits in the place of the words that the rows of a table have for them.

    Args:
        examples: with the words as their splits.
        where: how messages name the table.

    Returns:
        The examples, and a warning of those without a word, which become train.

    Raises:
        UserError: for words that stand for no split: all of them at once.
    """
    unknown = Counter(example.split for example in examples if example.split and not split_of(example.split))
    if unknown:
        words = [f"{word!r} ({count})" for word, count in unknown.most_common()]
        first = next(example.id for example in examples if example.split in unknown)
        raise UserError(
            f"unknown splits in {where}: {first_few(words)}, the first in {first!r}",
            nearest(next(iter(unknown)), SPLITS) if len(unknown) == 1 else "write train, validation or test",
        )
    blank = [example.id for example in examples if not example.split]
    warning = f"rows of {where} without a split, which are taken for train: {len(blank)}, such as "
    named = [example._replace(split=split_of(example.split) or "train") for example in examples]
    return named, (f"{warning}{blank[0]!r}",) if blank else ()

"""Class names that differ in their spelling alone: "Spam" and "spam", "1" and "1.0", NFC and NFD."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from xmodal.core.formatting import first_few
from xmodal.data.examples import Example
from xmodal.data.shares import most_probable

# What programs write in the place of a class that nobody gave.
NO_LABELS = ("nan", "none", "null", "n/a", "na", "undefined", "unknown")


def without_look_alikes(
    examples: Sequence[Example], merge: bool
) -> tuple[list[Example], dict[str, str], tuple[str, ...]]:
    """Tells of classes whose names look alike, and makes one class of them.

    Args:
        examples: as they came.
        merge: make them one class, under the name that most of its examples have.

    Returns:
        The examples, the name of each class that changed -> its new one, and warnings.
    """
    counts = Counter(example.class_name for example in examples)
    for example in examples:
        counts.update(dict.fromkeys(example.named, 0))
    names_by_plain: dict[str, list[str]] = {}
    for name in counts:
        names_by_plain.setdefault(plain_name(name), []).append(name)
    groups = [names for names in names_by_plain.values() if len(names) > 1]
    warnings = [_warning(names, counts, merge) for names in groups]
    missing_names = [repr(name) for name in counts if name.casefold().strip() in NO_LABELS]
    if missing_names:
        warnings.append(f"classes that are named as missing values are: {first_few(missing_names)}")
    if not merge:
        return list(examples), {}, tuple(warnings)
    # The first of equal ones, in alphabetical order.
    target_names = {
        name: min(names, key=lambda name: (-counts[name], name)) for names in groups for name in names
    }
    new_names = {old: new for old, new in target_names.items() if old != new}
    return [_merge(example, new_names) for example in examples], new_names, tuple(warnings)


def plain_name(name: str) -> str:
    """Returns what a name has in common with those that look alike."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())
    text = unicodedata.normalize("NFKC", text)
    if re.fullmatch(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?", text):
        return repr(float(text) + 0.0)
    return text


def _warning(names: Iterable[str], counts: Counter[str], merge: bool) -> str:
    names_text = ", ".join(f"{name!r} ({counts[name]})" for name in sorted(names))
    end = (
        "are one class (`merge_names`)" if merge else "are separate classes; `merge_names` makes one of them"
    )
    return f"class names that look alike {end}: {names_text}"


def _merge(example: Example, new_names: dict[str, str]) -> Example:
    class_name = new_names.get(example.class_name, example.class_name)
    if example.shares is None:
        return example._replace(class_name=class_name)
    shares: dict[str, float] = {}
    for name, share in example.shares.items():
        shares[new_names.get(name, name)] = min(1.0, shares.get(new_names.get(name, name), 0.0) + share)
    return example._replace(class_name=class_name if example.exact else most_probable(shares), shares=shares)

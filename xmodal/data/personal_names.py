"""Personal data in the names of classes and files, which every report shows."""

import re
from collections.abc import Sequence

from xmodal.text.cleaning import prepare_texts
from xmodal.text.personal_data import MARKS

# What could be an address, a number of many digits, or a URL: few names have that, and they alone are read.
DOUBTFUL = re.compile(r"@|%40|://|\d(?:[ ().+/-]?\d){7}|[A-Za-z]{2}\d\d ?[A-Za-z0-9]{4}")
MAX_NAMES = 1000


def personal_warnings(class_names: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
    """Returns a warning when names look like personal data: reports and exports show them as they are.

    Args:
        class_names: the names of the classes.
        ids: the names of the examples; of the doubtful ones, `MAX_NAMES` are looked at.
    """
    marks_by_place = {"class names": _marks(class_names), "file names": _marks(ids)}
    descriptions = [f"{place} ({', '.join(marks)})" for place, marks in marks_by_place.items() if marks]
    if not descriptions:
        return ()
    return (
        f"what looks like personal data stands in {' and '.join(descriptions)}: reports show it; rename them",
    )


def _marks(names: Sequence[str]) -> list[str]:
    doubtful_names = [name for name in names if DOUBTFUL.search(name)][:MAX_NAMES]
    if not doubtful_names:
        return []
    _, counts = prepare_texts([name.replace("/", " ") for name in doubtful_names])
    return [mark for mark, count in zip(MARKS, counts.sum(axis=0), strict=True) if count]

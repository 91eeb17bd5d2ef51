"""The modalities of pairs, and which of them are visible to a model."""

from collections.abc import Sequence
from itertools import combinations

MODALITIES = ("image", "text", "sound")
# What is said of all modalities, by their number.
WHOLE = {2: "both", 3: "all"}
SIDES = {2: "both sides", 3: "all three sides"}


def subsets(modalities: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns what may be visible of some modalities, by name: all of them, then fewer and fewer.

    Example:
        >>> subsets(("image", "text"))
        {'both': ('image', 'text'), 'image': ('image',), 'text': ('text',)}
        >>> [*subsets(("image", "text", "sound"))][:4]
        ['all', 'image and text', 'image and sound', 'text and sound']
    """
    parts = [part for size in range(len(modalities), 0, -1) for part in combinations(modalities, size)]
    return {WHOLE[len(modalities)] if part is parts[0] else " and ".join(part): part for part in parts}

"""What trainings from scratch were tried, as a table."""

from collections.abc import Mapping, Sequence

from xmodal.baselines import Attempt
from xmodal.report import Table


def tried_table(tried: Mapping[str, Sequence[Attempt]], caption: str) -> Table:
    """Returns what was tried from scratch, and how it did on the validation split.

    Args:
        tried: what was trained -> all attempts.
        caption: of the table.
    """
    rows = tuple(
        (
            name,
            f"{attempt.rate:g}",
            attempt.passes,
            f"{attempt.kept['val_accuracy']:.1%}",
            f"{attempt.kept['val_loss']:.3f}",
        )
        for name, attempts in tried.items()
        for attempt in attempts
    )
    return Table(caption, ("training", "peak rate", "passes", "validation accuracy", "validation loss"), rows)

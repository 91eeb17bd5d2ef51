"""Soft labels in tables: columns LABEL:NAME, each with the shares that the rows have of one class."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from xmodal.core.errors import UserError


def share_columns(columns: Iterable[str], label: str, where: str) -> dict[str, str]:
    """Finds the columns of shares.

    Args:
        columns: the names of all columns.
        label: that of the classes; those of shares begin with it and a colon.
        where: how a message names the place.

    Returns:
        Class -> the column of its shares, in the order of the columns; empty when there are none.

    Raises:
        UserError: when there are classes too, and for a class without a name or with two columns.
    """
    columns, mark = list(columns), f"{label}:"
    column_of: dict[str, str] = {}
    for column in columns:
        if not column.startswith(mark):
            continue
        name = column.removeprefix(mark).strip()
        if not name:
            raise UserError(f"{where} has a column {column!r}, which names no class", f"write {mark}NAME")
        if name in column_of:
            raise UserError(f"{where} gives the shares of {name!r} twice", "keep one of the columns")
        if label in columns:
            raise UserError(
                f"{where} has both {label!r} and {column!r}", "keep either the classes or their shares"
            )
        column_of[name] = column
    return column_of


def parse_shares(cells: Mapping[str, object], columns: Mapping[str, str], where: str) -> dict[str, float]:
    """Returns the shares that a row has of the classes; their sum is 1.

    Args:
        cells: what the columns hold.
        columns: class -> its column, as `share_columns` gives them.
        where: how a message names the row.

    Raises:
        UserError: for what is no number, infinite or below 0, and when all are 0.
    """
    shares = np.array([_share(cells[column], column, where) for column in columns.values()])
    if not shares.any():
        names = ", ".join(map(repr, columns.values()))
        raise UserError(f"{where} has a share of 0 in each of {names}", "give it a class, or remove it")
    # Twice, so that huge numbers do not add up to infinity; equal shares stay equal in float32.
    shares /= shares.max()
    shares /= shares.sum()
    return dict(zip(columns, shares.astype(np.float32).tolist(), strict=True))


def most_probable(shares: Mapping[str, float]) -> str:
    """Returns the class of the largest share, the first of equal ones."""
    return max(shares, key=shares.__getitem__)


def _share(value: object, column: str, where: str) -> float:
    try:
        share = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        share = math.nan
    if not 0 <= share < math.inf:
        raise UserError(f"{where} has {value!r} in {column!r}", "write a number, 0 or above")
    return share

"""Tables of Markdown, from the tables of records."""

import re
from collections.abc import Sequence

# How numbers of these columns are written; of all others three digits count, or those of a whole number.
FORMS = {
    "MB": ".1f",
    "size to float32": ".1%",
    "accuracy": ".2%",
    "points to float32": "+.2f",
    "precision": ".1%",
    "recall": ".1%",
    "F1": ".1%",
    "probability of the class": ".2%",
    "ms, one by one": ".1f",
    "ms, in batches of 32": ".1f",
}
# Tables with more rows, or with longer cells, are folded.
MAX_ROWS, LONGEST_CELL = 10, 60
# A number, with its interval or unit; longer cells are sentences.
FIGURE = re.compile(r"([-+]?\d.{,30})?$")
# How the second of three columns is named that are an accuracy and the ends of its interval.
FROM = ": 95% from"


def link(name: str, page: str) -> str:
    """Returns a link to the section of a record."""
    return f"[{name}]({page}#{name})"


def table_lines(table: dict) -> list[str]:
    """Renders a table of a record; a long one, or one of texts, unfolds at a click."""
    rows = [[_cell(*cell) for cell in zip(table["head"], row, strict=True)] for row in table["rows"]]
    head = table["head"]
    if any(name.endswith(FROM) for name in head):
        head, rows = _with_intervals(table)
    lines = [*grid(head, rows), ""]
    if len(rows) > MAX_ROWS or any(len(cell) > LONGEST_CELL for row in rows for cell in row):
        return [f"<details><summary>{table['caption']}</summary>", "", *lines, "</details>", ""]
    return [f"{table['caption']}:", "", *lines]


def _cell(column: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    usual = ",d" if isinstance(value, int) else ",.0f" if abs(value) >= 1000 else ".3g"
    return format(value, FORMS.get(column, usual))


def _with_intervals(table: dict) -> tuple[list[str], list[list[str]]]:
    """Writes each accuracy of a table of `xmodal.robustness.attacked` with the ends of its interval."""

    def told(value: float, low: float, high: float) -> str:
        return f"{value:.1%} ({low:.1%} to {high:.1%})"

    rows = [[name, *map(told, cells[::3], cells[1::3], cells[2::3])] for name, *cells in table["rows"]]
    return [table["head"][0], *table["head"][1::3]], rows


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; columns of figures are aligned on their right."""
    figures = [all(FIGURE.match(row[place]) for row in rows) for place in range(len(head))]
    rule = ["---:" if figure else "---" for figure in figures]
    return [_row(head), _row(rule), *map(_row, rows)]


def as_text(lines: list[str]) -> str:
    """Returns lines as a text."""
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace('<', '&lt;') for cell in cells)} |"

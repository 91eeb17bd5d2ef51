"""Writes what the documentation shows of the records in experiments/results/.

python experiments/render_results.py           # rewrite
python experiments/render_results.py --check   # exit 1 when they differ

README.md and README.zh-CN.md get ten rows of the records, what a run prints, what was promised, what
transfer is worth, and how well speakers are understood that were never heard; experiments/results/README.md
gets the rows and tables of all records; experiments/README.md gets some of their sentences, and
experiments/running.md what larger jobs would cost.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from rendering.benches import BENCHES
from rendering.markdown import as_text, grid, link
from rendering.runs import MOVED, UNDER_ATTACK, figures, origin, read_from, result_lines
from rendering.scale import scale
from rendering.words import ENGLISH, README_LANGUAGES, punctuated

from xmodal.evaluation.intervals import findings
from xmodal.evaluation.repeats import student95
from xmodal.report import Plot, Series, console_table
from xmodal.report.figures import lines_file

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "experiments" / "results"
RESULTS_PAGE = "experiments/results/README.md"
# The rows of that table which both READMEs have: a record, and what is told of it.
TEN = (
    ("vgg_to_bert", "text"),
    ("cifar10", "text"),
    ("names_kinds", "name_mixture"),
    ("cnn_to_text", "documents, all a class"),
    ("bert_news", "bert"),
    ("across_languages", "others"),
    ("fusion_human_words", "fused"),
    ("text_to_image", "text_to_image"),
    ("speed", "vgg step"),
    ("speed", "encoding"),
)
# What the project set out to beat: a record, and its result.
PROMISES = {"cifar10": "text", "vgg_to_vgg_mnist": "target"}
# Records with a table of what transfer is worth by amounts of labels, what of, and how its caption begins.
WORTH = {"vgg_to_bert": "images", "cifar10": "images", "bert_news": "texts"}
WORTH_CAPTION = "What transfer is worth"

ALL_TABLES = """# Results

Each section is one recorded run; the JSON file of its name beside this page has its flags, seed, commit,
machine, times and all else. Written by `python experiments/render_results.py`.

{}
"""


def render(records: Path) -> str:
    """Returns Markdown with what every record in a folder is judged by, and with all of their tables."""
    sections = (_section(name, record) for name, record in _records(records))
    return ALL_TABLES.format(headlines(records)) + "\n".join(sections)


def headlines(records: Path) -> str:
    """Returns a Markdown table with what each record in a folder is judged by."""
    rows = []
    for name, record in _records(records):
        for place, row in enumerate(_headline_rows(record, ENGLISH).values()):
            # What is the same in all rows of a record stands in the first one.
            rows.append(_headline(name, record, row) if place == 0 else ("", "", *row, "", ""))
    return as_text(grid(ENGLISH["head"], rows))


def ten_headlines(records: Path, words: dict) -> str:
    """Returns the rows for a reader who is new here, as a Markdown table.

    Args:
        records: the folder.
        words: `ENGLISH` or `CHINESE`.
    """
    of_name = dict(_records(records))
    rows = [
        _headline(name, of_name[name], _headline_rows(of_name[name], words)[what], RESULTS_PAGE)
        for name, what in TEN
    ]
    return as_text(grid(words["head"], rows))


def promises(records: Path, words: dict = ENGLISH) -> str:
    """Returns a Markdown table of what was promised, and of what records in a folder hold against it."""
    rows, of_name = [], dict(_records(records))
    for name, headline in PROMISES.items():
        record = of_name[name]
        result, minutes = record["results"][headline], record["wall_seconds"] / 60
        low, high = (100 * end for end in result["ci95"])
        told = (result["accuracy"], low, high, result["n"], minutes, record["hardware"]["cores"])
        rows.append((words[name], f"{words['kept'].format(*told)}: {link(name, RESULTS_PAGE)}"))
    return as_text(grid(words["promises"], rows))


def worth(records: Path, words: dict = ENGLISH) -> str:
    """Returns a Markdown table of what transfer is worth in the records of a folder, or nothing without one.

    Args:
        records: the folder; those of `WORTH` that have such a table become two columns each.
        words: `ENGLISH` or `CHINESE`.
    """
    head, columns, of_name = [words["examples"]], [], dict(_records(records))
    for name, what in WORTH.items():
        for table in of_name.get(name, {}).get("tables", ()):
            if table["caption"].startswith(WORTH_CAPTION):
                label = f"{words[what]}, {link(name, RESULTS_PAGE)}"
                head += [f"{label}: {words['with']}", words["without"]]
                rows = (dict(zip(table["head"], row, strict=True)) for row in table["rows"])
                columns.append(
                    {str(row["examples a class"]): (row["with transfer"], row["without"]) for row in rows}
                )
    if not columns:
        return ""
    drawn = [f"![{words['worth plot']}](experiments/results/{path.name})" for path in worth_plots(records)]
    amounts = sorted({amount for column in columns for amount in column}, key=_number)
    cells = [
        [words.get(amount, amount), *(x for column in columns for x in column.get(amount, ("", "")))]
        for amount in amounts
    ]
    return as_text([words["worth"], "", *grid(head, cells), *(line for link in drawn for line in ("", link))])


def unheard(records: Path, words: dict = ENGLISH) -> str:
    """Returns a Markdown table of speakers that were never heard in training, and of what transfer was worth.

    The interval of the mean difference is Student's over the speakers.

    Args:
        records: the folder; those of speakers compare transfer with random weights.
        words: `ENGLISH` or `CHINESE`.
    """
    rows, columns = [], []
    for name, record in _records(records):
        if "unheard_" not in "".join(read_from(record)):
            continue
        results = record["results"]
        [gain] = [gain for gain in record["gains"] if gain["sentence"].startswith("transfer of weights")]
        shares = [results[result]["accuracy"] for result in ("audio_only", "text", "no_transfer")]
        columns.append([*shares, gain["difference"]])
        rows.append((link(name, RESULTS_PAGE), *_points(*columns[-1], *gain["ci95"])))
    means = np.mean(columns, axis=0)
    half_width = student95(len(rows) - 1) * np.std(columns, axis=0, ddof=1)[-1] / math.sqrt(len(rows))
    interval = (means[-1] - half_width, means[-1] + half_width)
    rows.append((words["mean of"].format(len(rows)), *_points(*means, *interval)))
    return as_text(grid(words["unheard"], rows))


def doubts(records: Path) -> str:
    """Returns a Markdown table of what a text's probabilities are worth beside those of the classifier."""
    head = ("record", "`--text_style`", "taught", "log loss before the text", "of the text", "times")
    head += ("calibration error before", "of the text")
    rows = []
    for name, record in _records(records):
        results = record.get("results", {})
        seen = results.get("image_only") or results.get("audio_only")
        if record.get("experiment") != "vgg_to_bert" or not seen or "text" not in results:
            continue
        read = results["text"]
        [style] = [flag.partition("=")[2] for flag in record["flags"] if flag.startswith("--text_style=")]
        taught = "probabilities" if "taught what" in read["note"] else "labels"
        losses = f"{seen['loss']:.3f}", f"{read['loss']:.3f}", f"{read['loss'] / seen['loss']:.2f}"
        rows.append(
            (
                link(name, "results/README.md"),
                style,
                taught,
                *losses,
                f"{seen['ece']:.3f}",
                f"{read['ece']:.3f}",
            )
        )
    return as_text(grid(head, rows))


def _points(sound: float, text: float, without: float, gain: float, low: float, high: float) -> Iterator[str]:
    yield from (f"{share:.1%}" for share in (sound, text, without))
    yield f"{100 * gain:+z.1f} [{100 * low:+z.1f}, {100 * high:+z.1f}]"


def worth_plots(records: Path) -> dict[Path, Plot]:
    """Returns the plots of what transfer is worth in a folder's records, by the file of each."""
    return {
        records / f"{name}_worth.svg": Plot(
            **{**plot, "series": tuple(Series(**series) for series in plot["series"])}
        )
        for name, record in _records(records)
        if name in WORTH
        for plot in record.get("plots", ())
        if plot["caption"].startswith(WORTH_CAPTION)
    }


def comparisons(records: Path, begin: str) -> str:
    """Returns a Markdown list of the comparisons in a folder's records that begin with a pattern."""
    return "".join(
        f"- {link(name, 'results/README.md')}: {gain['sentence']}.\n"
        for name, record in _records(records)
        for gain in record.get("gains", ())
        if re.match(begin, gain["sentence"])
    )


def printed(record: dict) -> str:
    """Returns what the run of a record printed at its end: the table, and what the differences mean."""
    results = {
        name: SimpleNamespace(**{**result, "log_loss": result["loss"]})
        for name, result in record["results"].items()
    }
    run = SimpleNamespace(
        title=record["title"],
        seed=record["seed"],
        results=results,
        findings=findings([gain["sentence"] for gain in record["gains"]]),
        seconds={},
    )
    return f"```\n{console_table(run, 90)}\n```\n"


def filled(readme: str, name: str, text: str) -> str:
    """Returns the text of a README with `text` between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, rest = readme.split(begin)
    return before + begin + text + end + rest.split(end)[1]


def rendered(root: Path = ROOT) -> dict[Path, str]:
    """Returns what each file should hold."""
    files = {RECORDS / "README.md": render(RECORDS)}
    files |= {path: lines_file(plot) for path, plot in worth_plots(RECORDS).items()}
    page = ROOT / "experiments" / "README.md"
    text = filled(page.read_text(), "moved", comparisons(RECORDS, MOVED))
    text = filled(text, "doubts", doubts(RECORDS))
    files[page] = filled(text, "robust", comparisons(RECORDS, UNDER_ATTACK))
    page, of_name = ROOT / "experiments" / "running.md", dict(_records(RECORDS))
    files[page] = filled(page.read_text(), "scale", scale(*map(of_name.get, ("growth", "serving", "engine"))))
    for name, words in README_LANGUAGES.items():
        text = (root / name).read_text()
        parts = {"results": ten_headlines, "promises": promises, "worth": worth, "unheard": unheard}
        for part, write in parts.items():
            text = filled(text, part, punctuated(write(RECORDS, words), words))
        files[root / name] = filled(text, "printed", printed(dict(_records(RECORDS))["vgg_to_bert"]))
    return files


def _records(folder: Path) -> Iterator[tuple[str, dict]]:
    """Yields the names and records of a folder in the order of their names."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def _headline(name: str, record: dict, row: tuple[str, str], page: str = "") -> tuple[str, ...]:
    minutes = f"{record['wall_seconds'] / 60:.1f}"
    return (link(name, page), ", ".join(read_from(record)), *row, record["commit"][:7], minutes)


def _headline_rows(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    """Returns what a record is judged by, and what stands beside it, by a name for each row."""
    return BENCHES[record["bench"]][1](record, words) if "bench" in record else figures(record, words)


def _number(amount: str) -> float:
    """Returns a number of examples; "all" of them are the most."""
    return math.inf if amount == "all" else int(amount.replace(",", ""))


def _section(name: str, record: dict) -> str:
    lines = [*BENCHES[record["bench"]][0](record), ""] if "bench" in record else result_lines(record)
    return "\n".join([origin(name, record), "", *lines])


def main(arguments: list[str]) -> int:
    """Rewrites the files, or with --check tells whether they are up to date."""
    wanted = rendered()
    if arguments == ["--check"]:
        return int(any(not path.exists() or path.read_text() != text for path, text in wanted.items()))
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Writes the tables of README.md from the records in experiments/results/.

python experiments/render_results.py           # rewrite
python experiments/render_results.py --check   # exit 1 when they differ
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Flags that are told where they differ from these.
USUAL = {"precision": "float32", "train_examples": "0", "text_encoder": "minilm_l6"}
# How the captions of tables begin that are shown; the others stand in a run's report.
SHOWN = (
    "Test accuracy on",
    "Test accuracy when",
    "Both directions",
    "Retrieval in the shared space",
    "What the judge sees",
    "Frechet distance",
)
ATTACKED = "Accuracy on"
# Experiments whose examples are not images alone.
MIXED = ("cnn_to_text", "text_to_image")
README = ROOT / "README.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


def render(records: Path) -> str:
    """Returns Markdown for every record in a folder, in the order of their names."""
    return "\n".join(_section(path) for path in sorted(records.glob("*.json")))


def filled(readme: str, results: str) -> str:
    """Returns the text of the README with `results` between its marks."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + results + END + rest.split(END)[1]


def _section(path: Path) -> str:
    record = json.loads(path.read_text())
    lines = [_origin(path.stem, record), ""]
    if "bench" in record:
        return "\n".join([*lines, *RENDERERS[record["bench"]](record), ""])
    lines += [
        f"| result | accuracy | 95% interval | {_source(record)[1]} | log loss | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, result in record["results"].items():
        low, high = result["ci95"]
        seconds = "" if result["seconds"] is None else f"{result['seconds']:.0f}"
        lines.append(
            f"| {name}: {result['note']} | {result['accuracy']:.2%} | {low:.2%} to {high:.2%} "
            f"| {result['n']:,} | {result['loss']:.3f} | {seconds} |"
        )
    for table in record.get("tables", ()):
        # With a single row it says no more than the results do.
        if table["caption"].startswith(SHOWN) and len(table["rows"]) > 1:
            lines += ["", *_table(table)]
        elif table["caption"].startswith(ATTACKED):
            lines += ["", *_table(_with_intervals(table))]
    # Names within a sentence keep their capitals.
    sentences = " ".join(f"{gain['sentence'][:1].upper()}{gain['sentence'][1:]}." for gain in record["gains"])
    sentences += "".join(
        f" {fact[:1].upper()}{fact[1:]}: {value:.2f}."
        for fact, value in record["facts"].items()
        if fact.startswith("errors of fused")
    )
    small = [table for table in record.get("tables", []) if table["head"][0] == "form"]
    lines += ["", *([sentences, ""] if sentences else [])]
    return "\n".join([*lines, *(line for table in small for line in _small(table))])


def _small(table: dict) -> list[str]:
    """Renders a table of `xmodal.small`: its columns are known by their names."""
    rows = [[_small_cell(*cell) for cell in zip(table["head"], row, strict=True)] for row in table["rows"]]
    return [
        f"{table['caption']}:",
        "",
        f"| {' | '.join(table['head'])} |",
        f"| --- |{' ---: |' * (len(table['head']) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _small_cell(column: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    forms = {"MB": ".1f", "size to float32": ".1%", "accuracy": ".2%", "points to float32": "+.2f"}
    return format(value, forms.get(column, ".1f"))


def _with_intervals(table: dict) -> dict:
    """Writes each accuracy of a table of `xmodal.robustness` with the ends of its interval."""

    def told(value: float, low: float, high: float) -> str:
        return f"{value:.1%} ({low:.1%} to {high:.1%})"

    rows = [[name, *map(told, cells[::3], cells[1::3], cells[2::3])] for name, *cells in table["rows"]]
    return {"caption": table["caption"], "head": [table["head"][0], *table["head"][1::3]], "rows": rows}


def _table(table: dict) -> list[str]:
    def row(cells) -> str:
        return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"

    rule = "| --- |" + " ---: |" * (len(table["head"]) - 1)
    return [f"{table['caption']}:", "", row(table["head"]), rule, *map(row, table["rows"])]


def _origin(name: str, record: dict) -> str:
    flags = _flags(record)
    flag, _ = _source(record)
    flags |= {"bench": record.get("bench", "")}
    # The folder of a data set is of one machine.
    source = re.sub(r"(folder|dir|csv|tsv|jsonl):.*/", r"\1:", flags[flag])
    told = [f"`--{flag}={source}`"]
    told += [f"`--{name}={flags[name]}`" for name, usual in USUAL.items() if flags.get(name, usual) != usual]
    machine, minutes = record["hardware"], record["wall_seconds"] / 60
    return (
        f"**{name}**: {', '.join(told)}, seed {flags['seed']}, commit {record['commit'][:12]}, "
        f"{machine['cores']} cores of {machine['cpu']}, {minutes:.1f} minutes in all."
    )


def _flags(record: dict) -> dict[str, str]:
    return dict(flag.removeprefix("--").partition("=")[::2] for flag in record["flags"])


def _source(record: dict) -> tuple[str, str]:
    """Returns the flag that names what was read, and what it consists of."""
    if record.get("bench") == "scrub":
        return "bench", "documents"
    if _flags(record)["experiment"] == "bert_news":
        return "documents", "documents"
    if _flags(record)["experiment"] == "fusion":
        return "pairs", "pairs"
    return "dataset", "examples" if _flags(record)["experiment"] in MIXED else "images"


def _scrub(record: dict) -> list[str]:
    figures = [
        f"{name} {record[f'{language} recall']:.2%} of {record[f'{language} pieces']:,} pieces found, "
        f"{record[f'{language} precision']:.2%} of what was marked is one"
        for language, name in (("en", "in English"), ("zh", "in Chinese"))
    ]
    return [
        f"Personal data in {record['documents']:,} documents of about {record['words_a_document']} words "
        f"that faker made: {'; '.join(figures)}. {record['documents_a_second']:,.0f} documents a second."
    ]


def _text_stage(record: dict) -> list[str]:
    return [
        f"BERT on the sentences of {record['sentences']:,} images, {record['distinct_sentences']:,} of them "
        f"distinct: {record['seconds_each_distinct_once']:.2f} s when each distinct one is read once, "
        f"{record['seconds_each_image']:.1f} s with one pass an image, {record['ratio']:.0f} times as long "
        f"({record['ratio_least']:.0f} to {record['ratio_most']:.0f} in {record['repeats']} pairs). Largest "
        f"difference of a logit: {record['largest_difference']:.1e}; answers that differ: "
        f"{record['answers_that_differ']}."
    ]


def _engine(record: dict) -> list[str]:
    rows = [
        ("training a head on kept features, against through the frozen trunk", record["cached_head"]),
        *((f"our loop against Keras fit, {name}", pair) for name, pair in record["loop"].items()),
        *(
            (f"two workers of one thread against one process of two, {name}", pair)
            for name, pair in record["workers"].items()
        ),
    ]
    lines = [
        "| images or rows a second | first | second | ratio | least to most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, pair in rows:
        lines.append(
            f"| {name} | {pair['first']:,.0f} | {pair['second']:,.0f} | {pair['ratio']:.3g} "
            f"| {pair['ratio_least']:.3g} to {pair['ratio_most']:.3g} |"
        )
    waits = " and ".join(f"{share:.2%} with {name}" for name, share in record["waiting"].items())
    return [
        *lines,
        "",
        f"VGG19, batches of {record['batch_size']} ({record['workers_batch_size']} for the workers, over the "
        f"loopback address), {record['repeats']} pairs in turn. Of the time of a "
        f"training of every layer, waiting for input took {waits}.",
    ]


def _serving(record: dict) -> list[str]:
    lines = [
        "| | export | Keras `predict` | ratio | least to most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, what in (("serving_default", "an image"), ("text", "a text")):
        one, batch = record[name]["one"], record[name]["batch"]
        ways = [f"{one[f'{way}_median']:.1f} ({one[f'{way}_95th']:.1f})" for way in ("first", "second")]
        lines += [
            f"| {what} alone, milliseconds: median (95th percentile) | {ways[0]} | {ways[1]} "
            f"| {one['ratio']:.2f} | {one['ratio_least']:.2f} to {one['ratio_most']:.2f} |",
            f"| {what} in batches of {record['batch_size']}, a second | {batch['first']:,.0f} "
            f"| {batch['second']:,.0f} | {batch['ratio']:.2f} "
            f"| {batch['ratio_least']:.2f} to {batch['ratio_most']:.2f} |",
        ]
    difference = max(record[name]["largest_difference"] for name in ("serving_default", "text"))
    return [
        *lines,
        "",
        f"Images of {record['image_size']} pixels to a sentence to an answer, and a text to an answer: one "
        f"call of the export against its parts in Python, in turn, {record['repeats']} rounds of "
        f"{record['requests']} requests and of {record['batches']} batches. Largest difference of a "
        f"probability: {difference:.1e}.",
    ]


RENDERERS = {"text_stage": _text_stage, "scrub": _scrub, "engine": _engine, "serving": _serving}


def main(arguments: list[str]) -> int:
    """Rewrites the README, or with --check tells whether it is up to date."""
    now = README.read_text()
    wanted = filled(now, render(ROOT / "experiments" / "results"))
    if arguments == ["--check"]:
        return int(now != wanted)
    README.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Writes what the documentation shows of the records in experiments/results/.

python experiments/render_results.py           # rewrite
python experiments/render_results.py --check   # exit 1 when they differ

README.md and README.zh-CN.md get ten rows of the records, what a run prints, what was promised, and what
transfer is worth; experiments/results/README.md gets the rows and tables of all records;
experiments/README.md gets some of their sentences.
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

from xmodal.bench.paired_timing import besides
from xmodal.report import Plot, Series, console_table
from xmodal.report.figures import lines_file

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "experiments" / "results"
RESULTS_PAGE = "experiments/results/README.md"
# Flags that are told where they differ from these.
USUAL = {"precision": "float32", "train_examples": "0", "text_encoder": "minilm_l6"}
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
MOST_ROWS, LONGEST_CELL = 10, 60
# A number, with its interval or unit; longer cells are sentences.
FIGURE = re.compile(r"([-+]?\d.{,30})?$")
# How the second of three columns is named that are an accuracy and the ends of its interval.
FROM = ": 95% from"
# Experiments whose examples are not images alone.
MIXED = ("cnn_to_text", "text_to_image")
# What each experiment is judged by: a result, and those of the same run that stand beside it.
HEADLINES = {
    "vgg_to_bert": {"text": ("image_only", "no_transfer")},
    "vgg_to_vgg": {"target": ("base", "random_weights")},
    "cnn_to_text": {"images, all a class": (), "documents, all a class": ()},
    "bert_news": {"bert": ("tf_idf", "no_transfer"), "bert_robust": ("bert",)},
    "fusion": {"fused": ("image_only", "text_only", "no_transfer")},
    "text_to_image": {"text_to_image": ("text_to_image_unseen", "judge"), "image_to_text": ("judge",)},
}
# The rows of that table which both READMEs have: a record, and what is told of it.
TEN = (
    ("vgg_to_bert", "text"),
    ("cifar10", "text"),
    ("vgg_to_vgg", "target"),
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
MEAN = "mean accuracy of BERT on "
# How gains begin that experiments/README.md tells: two classifiers under attack, a scorer that moved.
UNDER_ATTACK, MOVED = r"\w+ in the place of \w+, under ", "the scorer of the "
# What the rows say, and the heads of the table. In Chinese those of the records above are enough.
ENGLISH = {
    "head": ("record", "data", "accuracy, with its 95% interval", "beside it", "commit", "minutes"),
    "others": "mean of {} other test sets",
    "moved": "with the other's scorer: {} points",
    "under attack": "under attack",
    "held": "{:,} of {:,} odd inputs held ({:.2%})",
    "sentences read": "{:,} images: BERT reads {:,} sentences in {:.1f} s",
    "sentences of": "logits drawn for {:,} images: BERT reads {:,} sentences in {:.1f} s",
    "promises": ("promised", "recorded"),
    "worth": "What transfer is worth, by labelled examples a class: test accuracy, with its 95% interval.",
    "examples": "examples a class",
    "images": "images",
    "texts": "texts",
    "with": "with transfer",
    "without": "without",
    "cifar10": "90% on CIFAR-10 through text; 50 minutes without transfer",
    "vgg_to_vgg_mnist": "98.22% on MNIST after VGG16 to VGG19",
    "kept": "{:.2%} [{:.2f}, {:.2f}] on {:,} test images, {:.0f} minutes on {} CPU cores with everything",
    "features": "VGG19 features in float32, images a second",
    "vgg step": "training step of VGG19 in float32, images a second",
    "vgg half step": "training step of VGG19 in bfloat16, images a second",
    "encoding": "BERT on 32 tokens, texts a second",
    "half encoding": "BERT on 16 tokens in bfloat16, texts a second",
    "bert step": "fine-tuning step of BERT on 128 tokens, texts a second",
    "whole run": "whole run of vgg_to_bert, seconds",
    "half run": "whole run of vgg_to_bert in bfloat16, seconds",
    "cached_head": "head on kept features, images a second",
    "loop": "training step of VGG19, images a second",
    "sentences": "BERT on {} sentences, seconds",
    "scrub": "personal data found in documents that were made for it, in English and in Chinese",
    "through the trunk": "through the frozen trunk",
    "keras": "Keras `fit`",
    "served alone": "an image asked of the export, milliseconds",
    "served": "the export in batches of 64, images a second",
    "predict": "Keras `predict`",
    "each image": "one pass an image",
    "times": "{:.3g} times ({:.3g} to {:.3g})",
    "marked": "of what was marked, personal",
}
CHINESE = {
    "head": ("记录", "数据", "准确率与 95% 置信区间", "对照", "提交", "分钟"),
    "others": "{} 个其他测试集的平均",
    "moved": "换用另一模态的打分器: {} 个百分点",
    "under attack": "受攻击时",
    "promises": ("承诺", "记录"),
    "worth": "迁移值多少, 按每类有标签的样本数: 测试准确率与 95% 置信区间。",
    "examples": "每类样本数",
    "images": "图像",
    "texts": "文本",
    "with": "做迁移",
    "without": "不做迁移",
    "cifar10": "CIFAR-10 经由文本 90%; 不做迁移 50 分钟",
    "vgg_to_vgg_mnist": "VGG16 到 VGG19 之后 MNIST 98.22%",
    "kept": "{:.2%} [{:.2f}, {:.2f}], {:,} 张测试图像, 全程 {:.0f} 分钟, {} 个 CPU 核心",
    "features": "VGG19 特征, float32, 每秒图像数",
    "vgg step": "VGG19 训练步, float32, 每秒图像数",
    "vgg half step": "VGG19 训练步, bfloat16, 每秒图像数",
    "encoding": "BERT 读 32 个词元, 每秒文本数",
    "half encoding": "BERT 以 bfloat16 读 16 个词元, 每秒文本数",
    "bert step": "BERT 在 128 个词元上的微调步, 每秒文本数",
    "whole run": "整个 vgg_to_bert 运行的秒数",
    "half run": "整个 vgg_to_bert 以 bfloat16 运行的秒数",
    "every image through the whole network in every epoch": "每轮每张图像都过整个网络",
    "times": "{:.3g} 倍 ({:.3g} 到 {:.3g})",
}
README_LANGUAGES = {"README.md": ENGLISH, "README.zh-CN.md": CHINESE}
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
    return _text(_grid(ENGLISH["head"], rows))


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
    return _text(_grid(words["head"], rows))


def promises(records: Path, words: dict = ENGLISH) -> str:
    """Returns a Markdown table of what was promised, and of what records in a folder hold against it."""
    rows, of_name = [], dict(_records(records))
    for name, headline in PROMISES.items():
        record = of_name[name]
        result, minutes = record["results"][headline], record["wall_seconds"] / 60
        low, high = (100 * end for end in result["ci95"])
        told = (result["accuracy"], low, high, result["n"], minutes, record["hardware"]["cores"])
        rows.append((words[name], f"{words['kept'].format(*told)}: {_link(name, RESULTS_PAGE)}"))
    return _text(_grid(words["promises"], rows))


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
                label = f"{words[what]}, {_link(name, RESULTS_PAGE)}"
                head += [f"{label}: {words['with']}", words["without"]]
                rows = (dict(zip(table["head"], row, strict=True)) for row in table["rows"])
                columns.append(
                    {str(row["examples a class"]): (row["with transfer"], row["without"]) for row in rows}
                )
    if not columns:
        return ""
    drawn = [
        f"![{plot.caption}](experiments/results/{path.name})" for path, plot in worth_plots(records).items()
    ]
    amounts = sorted({amount for column in columns for amount in column}, key=_number)
    cells = [[amount, *(x for column in columns for x in column.get(amount, ("", "")))] for amount in amounts]
    return _text([words["worth"], "", *_grid(head, cells), *(line for link in drawn for line in ("", link))])


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
        f"- {_link(name, 'results/README.md')}: {gain['sentence']}.\n"
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
        gains=[SimpleNamespace(**gain) for gain in record["gains"]],
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
    files[page] = filled(text, "robust", comparisons(RECORDS, UNDER_ATTACK))
    for name, words in README_LANGUAGES.items():
        text = filled((root / name).read_text(), "results", ten_headlines(RECORDS, words))
        text = filled(text, "promises", promises(RECORDS, words))
        text = filled(text, "worth", worth(RECORDS, words))
        files[root / name] = filled(text, "printed", printed(dict(_records(RECORDS))["vgg_to_bert"]))
    return files


def _records(folder: Path) -> Iterator[tuple[str, dict]]:
    """Yields the names and records of a folder in the order of their names."""
    for path in sorted(folder.glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def _headline(name: str, record: dict, row: tuple[str, str], page: str = "") -> tuple[str, ...]:
    minutes = f"{record['wall_seconds'] / 60:.1f}"
    return (_link(name, page), ", ".join(_read_from(record)), *row, record["commit"][:7], minutes)


def _link(name: str, page: str) -> str:
    return f"[{name}]({page}#{name})"


def _headline_rows(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    """Returns what a record is judged by, and what stands beside it, by a name for each row."""
    return BENCHES[record["bench"]][1](record, words) if "bench" in record else _figures(record, words)


def _number(amount: str) -> float:
    """Returns a number of examples; "all" of them are the most."""
    return math.inf if amount == "all" else int(amount.replace(",", ""))


def _figures(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    results = record["results"]

    def told(name: str) -> str:
        return f"`{name}` {results[name]['accuracy']:.2%}"

    # A further question that was put in text alone stands beside the same one with labels of images.
    asked = [name for name in results if name.startswith("zero_image, ")]
    compared = HEADLINES[record["experiment"]] | {
        name: (name.replace("zero_image", "text"),) for name in asked
    }
    rows = {}
    for name, others in compared.items():
        if name in results:
            beside = [told(other) for other in others if other in results]
            beside += [words["moved"].format(points) for points in _moved(record, name)]
            low, high = results[name]["ci95"]
            rows[name] = (f"{told(name)} [{100 * low:.2f}, {100 * high:.2f}]", ", ".join(beside))
    for fact, value in record["facts"].items():
        if fact.startswith(MEAN):
            elsewhere = [name for name in results if name.startswith("bert_") and name != "bert_robust"]
            ranked = sorted(elsewhere, key=lambda name: results[name]["accuracy"])
            what = words["others"].format(len(elsewhere))
            rows["others"] = (f"{what}: {value:.2%}", f"{told(ranked[0])} ... {told(ranked[-1])}")
    for gain in record["gains"]:
        if re.match(UNDER_ATTACK, gain["sentence"]):
            rows[gain["sentence"]] = (words["under attack"], gain["sentence"])
    return rows


def _moved(record: dict, name: str) -> list[str]:
    """Returns the mean difference over all seeds that the other modality's scorer made to a result."""
    modality, _, amount = name.partition(", ")
    amount = amount.replace(" a class", f" {modality} a class")
    return [
        f"{100 * gain['difference']:+.1f} [{100 * gain['ci95'][0]:+.1f}, {100 * gain['ci95'][1]:+.1f}]"
        for gain in record["gains"]
        if amount and gain["sentence"].startswith("the scorer") and f"at {amount}," in gain["sentence"]
    ]


def _section(name: str, record: dict) -> str:
    lines = [_origin(name, record), ""]
    if "bench" in record:
        return "\n".join([*lines, *BENCHES[record["bench"]][0](record), ""])
    rows = [
        (
            f"{result}: {told['note']}",
            f"{told['accuracy']:.2%}",
            f"{told['ci95'][0]:.2%} to {told['ci95'][1]:.2%}",
            f"{told['n']:,}",
            f"{told['loss']:.3f}",
            "" if told["seconds"] is None else f"{told['seconds']:.0f}",
        )
        for result, told in record["results"].items()
    ]
    head = ("result", "accuracy", "95% interval", _source(record)[1], "log loss", "seconds")
    lines += [*_grid(head, rows), ""]
    # Names within a sentence keep their capitals.
    sentences = " ".join(f"{gain['sentence'][:1].upper()}{gain['sentence'][1:]}." for gain in record["gains"])
    sentences += "".join(
        f" {fact[:1].upper()}{fact[1:]}: {value:.2f}."
        for fact, value in record["facts"].items()
        if fact.startswith("errors of fused")
    )
    lines += [sentences, ""] if sentences else []
    return "\n".join([*lines, *(line for table in record.get("tables", ()) for line in _table(table))])


def _table(table: dict) -> list[str]:
    """Renders a table of a record; a long one, or one of texts, unfolds at a click."""
    rows = [[_cell(*cell) for cell in zip(table["head"], row, strict=True)] for row in table["rows"]]
    head = table["head"]
    if any(name.endswith(FROM) for name in head):
        head, rows = _with_intervals(table)
    lines = [*_grid(head, rows), ""]
    if len(rows) > MOST_ROWS or any(len(cell) > LONGEST_CELL for row in rows for cell in row):
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


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table; columns of figures are aligned on their right."""
    figures = [all(FIGURE.match(row[place]) for row in rows) for place in range(len(head))]
    rule = ["---:" if figure else "---" for figure in figures]
    return [_row(head), _row(rule), *map(_row, rows)]


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/').replace('<', '&lt;') for cell in cells)} |"


def _read_from(record: dict) -> list[str]:
    """Returns the flags that name what was read and what was unusual, without folders of one machine."""
    flags = _flags(record)
    flag, _ = _source(record)
    named = {flag: (flags | {"bench": record.get("bench", "")})[flag]}
    if flags["experiment"] == "cnn_to_text" and "bench" not in record:
        named["documents"] = flags["documents"]
    named |= {name: flags[name] for name, usual in USUAL.items() if flags.get(name, usual) != usual}
    told = [f"`--{name}={value}`" for name, value in named.items()]
    return [re.sub(r"(folder|dir|csv|tsv|jsonl):.*/", r"\1:", item) for item in told]


def _origin(name: str, record: dict) -> str:
    seed, machine, minutes = _flags(record)["seed"], record["hardware"], record["wall_seconds"] / 60
    return (
        f"## {name}\n\n{', '.join(_read_from(record))}, seed {seed}, commit {record['commit'][:12]}, "
        f"{machine['cores']} cores of {machine['cpu']}, {minutes:.1f} minutes in all."
    )


def _flags(record: dict) -> dict[str, str]:
    return dict(flag.removeprefix("--").partition("=")[::2] for flag in record["flags"])


def _source(record: dict) -> tuple[str, str]:
    """Returns the flag that names what was read, and what it consists of."""
    if record.get("bench") in ("scrub", "fuzz"):
        return "bench", "documents" if record["bench"] == "scrub" else "cases"
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
    marks = [name.removesuffix(" pieces") for name in record if re.match(r"\[.* pieces", name)]
    rows = [
        (
            mark,
            f"{record[f'{mark} pieces']:,}",
            *(f"{record[f'{mark} {x}']:.2%}" for x in ("recall", "precision")),
        )
        for mark in marks
    ]
    return [
        f"Personal data in {record['documents']:,} documents of about {record['words_a_document']} words "
        f"that faker made: {'; '.join(figures)}. {record['documents_a_second']:,.0f} documents a second.",
        "",
        *_grid(("mark", "pieces", "found", "of what was marked, right"), rows),
    ]


def _fuzz(record: dict) -> list[str]:
    rows = [
        (name.replace("_", " "), f"{count['held']:,}", f"{count['cases']:,}", "; ".join(count["failures"]))
        for name, count in record["targets"].items()
    ]
    return [
        "Odd and damaged input in a jail, by `python tests/fuzz/fuzz.py`: held means an answer, or one line "
        "that says what is wrong, and nothing else changed.",
        "",
        *_grid(("what was given", "held", "of", "what did not hold"), rows),
    ]


def _fuzz_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    told = words["held"].format(record["held"], record["cases"], record["held"] / record["cases"])
    return {"held": (told, "")}


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
    pairs = {"training a head on kept features, against through the frozen trunk": record["cached_head"]}
    pairs |= {f"our loop against Keras fit, {name}": pair for name, pair in record["loop"].items()}
    workers = "two workers of one thread against one process of two"
    pairs |= {f"{workers}, {name}": pair for name, pair in record["workers"].items()}
    rows = [
        (
            name,
            f"{pair['first']:,.0f}",
            f"{pair['second']:,.0f}",
            f"{pair['ratio']:.3g}",
            _spread(pair, ".3g"),
        )
        for name, pair in pairs.items()
    ]
    waits = " and ".join(f"{share:.2%} with {name}" for name, share in record["waiting"].items())
    return [
        *_grid(("images or rows a second", "first", "second", "ratio", "least to most"), rows),
        "",
        f"VGG19, batches of {record['batch_size']} ({record['workers_batch_size']} for the workers, over the "
        f"loopback address), {record['repeats']} pairs in turn. Of the time of a "
        f"training of every layer, waiting for input took {waits}.",
    ]


def _serving(record: dict) -> list[str]:
    rows = []
    for name, what in (("serving_default", "an image"), ("text", "a text")):
        one, batch = record[name]["one"], record[name]["batch"]
        alone = [f"{one[f'{way}_median']:.1f} ({one[f'{way}_95th']:.1f})" for way in ("first", "second")]
        together = [f"{batch[way]:,.0f}" for way in ("first", "second")]
        for said, cells, pair in (
            (f"{what} alone, milliseconds: median (95th percentile)", alone, one),
            (f"{what} in batches of {record['batch_size']}, a second", together, batch),
        ):
            rows.append((said, *cells, f"{pair['ratio']:.2f}", _spread(pair, ".2f")))
    difference = max(record[name]["largest_difference"] for name in ("serving_default", "text"))
    return [
        *_grid(("", "export", "Keras `predict`", "ratio", "least to most"), rows),
        "",
        f"Images of {record['image_size']} pixels to a sentence to an answer, and a text to an answer: one "
        f"call of the export against its parts in Python, in turn, {record['repeats']} rounds of "
        f"{record['requests']} requests and of {record['batches']} batches. Largest difference of a "
        f"probability: {difference:.1e}.",
    ]


def _spread(pair: dict, form: str) -> str:
    return f"{pair['ratio_least']:{form}} to {pair['ratio_most']:{form}}"


def _times(pair: dict, words: dict) -> str:
    """Says the ratio of a pair, with its spread."""
    return words["times"].format(pair["ratio"], pair["ratio_least"], pair["ratio_most"])


def _engine_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    pairs = (
        ("cached_head", record["cached_head"], "through the trunk"),
        ("loop", record["loop"]["VGG19"], "keras"),
    )
    return {
        what: (
            f"{words[what]}: {pair['first']:,.0f}",
            f"{words[other]}: {pair['second']:,.0f}; " + _times(pair, words),
        )
        for what, pair, other in pairs
    }


def _text_stage_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    what = words["sentences"].format(f"{record['sentences']:,}")
    return {
        "sentences": (
            f"{what}: {record['seconds_each_distinct_once']:.1f}",
            f"{words['each image']}: {record['seconds_each_image']:.1f}; {_times(record, words)}",
        )
    }


def _scrub_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    def both(figure: str) -> str:
        return ", ".join(f"{record[f'{language} {figure}']:.2%}" for language in ("en", "zh"))

    return {"scrub": (f"{words['scrub']}: {both('recall')}", f"{words['marked']}: {both('precision')}")}


def _serving_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    one, batch = record["serving_default"]["one"], record["serving_default"]["batch"]
    return {
        what: (
            f"{words[what]}: {first:,.0f}",
            f"{words['predict']}: {second:,.0f}; " + _times(pair, words),
        )
        for what, first, second, pair in (
            ("served alone", one["first_median"], one["second_median"], one),
            ("served", batch["first"], batch["second"], batch),
        )
    }


EVERY_TIME = "every image through the whole network in every epoch"
# Rows of --bench=speed that stand among the headlines, with what they are called there, and their peers.
SPEED_HEADLINES = {
    ("VGG19 features, float32", "PyTorch"): "features",
    ("training step of VGG19, all of it, float32", "PyTorch"): "vgg step",
    ("training step of VGG19, all of it, mixed_bfloat16", "PyTorch"): "vgg half step",
    ("BERT on 32 tokens, float32", "transformers"): "encoding",
    ("BERT on 16 tokens, mixed_bfloat16", "transformers"): "half encoding",
    ("fine-tuning step of BERT on 128 tokens, float32", "transformers"): "bert step",
    ("whole run of vgg_to_bert, float32", EVERY_TIME): "whole run",
    ("whole run of vgg_to_bert, mixed_bfloat16", EVERY_TIME): "half run",
}


def _speed(record: dict) -> list[str]:
    rows = [
        (
            *(row[name] for name in ("what", "peer", "unit")),
            *(f"{row[name]:,.4g}" for name in ("first", "second")),
            f"{row['ratio']:.3g}",
            _spread(row, ".3g"),
            besides(row),
        )
        for row in record["rows"]
    ]
    head = ("what", "against", "unit", "xmodal", "the other", "times as fast", "least to most", "")
    most = "; ".join(
        f"{dtype}: {rates['matrix_gflops']:,.0f} GFLOP/s of a matrix product, "
        f"{rates['convolution_gflops']:,.0f} of a convolution, {rates['copy_gigabytes']:.0f} GB/s copied"
        for dtype, rates in record["limits"].items()
    )
    return [
        f"The machine's own limits: {most}. Other processes took {record['busy'] or 0:.0%} of it before. "
        f"Both sides compute with {record['threads']} threads.",
        "",
        *_grid(head, rows),
        "",
        f"In turn on the same inputs and weights, {record['repeats']} pairs each; whole runs once.",
    ]


def _speed_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    return {
        what: (
            f"{words[what]}: {row['first']:,.4g}",
            f"{words.get(row['peer'], row['peer'])}: {row['second']:,.4g}; {_times(row, words)}",
        )
        for row in record["rows"]
        if (what := SPEED_HEADLINES.get((row["what"], row["peer"])))
    }


def _growth(record: dict) -> list[str]:
    lines = []
    for by in ("images", "classes"):
        sizes = record[by]
        stages = list(dict.fromkeys(stage for size in sizes.values() for stage in size))
        head = [by, *(f"{int(count):,}" for count in sizes)]
        rows = [
            (stage, *(_resources(size[stage]) if stage in size else "" for size in sizes.values()))
            for stage in stages
        ]
        read = [f"{size['text']['sentences']:,}" for size in sizes.values()]
        lines += [*_grid(head, [*rows, ("distinct sentences", *read)]), ""]
    return [
        *lines,
        f"Seconds and peak memory of each stage, each size in a process of its own: noise of 32 pixels in "
        f"{len(record['classes'])} numbers of classes with {record['images_of_classes']:,} images each. Of "
        f"{record['simulated']:,} images the logits were drawn, block by block, and put into words.",
    ]


def _resources(stage: dict) -> str:
    return f"{stage['seconds']:.1f} s, {stage['megabytes']:,.0f} MB"


def _growth_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    text = {count: size["text"] for count, size in record["images"].items()}
    told = [
        words["sentences of" if int(count) == record["simulated"] else "sentences read"].format(
            int(count), stage["sentences"], stage["seconds"]
        )
        for count, stage in text.items()
    ]
    return {"growth": (told[-1], told[0])}


# What a benchmark's record becomes: its section, and its rows among the headlines.
BENCHES = {
    "engine": (_engine, _engine_headline),
    "fuzz": (_fuzz, _fuzz_headline),
    "growth": (_growth, _growth_headline),
    "scrub": (_scrub, _scrub_headline),
    "serving": (_serving, _serving_headline),
    "speed": (_speed, _speed_headline),
    "text_stage": (_text_stage, _text_stage_headline),
}


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

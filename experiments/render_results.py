"""Writes what the documentation shows of the records in experiments/results/.

python experiments/render_results.py           # rewrite
python experiments/render_results.py --check   # exit 1 when they differ

README.md and README.zh-CN.md get ten rows of the records, what a run prints, and what was promised;
experiments/results/README.md gets the rows and tables of all records, experiments/README.md some of
their sentences.
"""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

from xmodal.bench.pairs import besides
from xmodal.report import console_table

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
# How the second of three columns is named that are an accuracy and the ends of its interval.
FROM = ": 95% from"
# Experiments whose examples are not images alone.
MIXED = ("cnn_to_text", "text_to_image")
# What each experiment is judged by: a result, and those of the same run that stand beside it.
HEADLINES = {
    "vgg_to_bert": {"text": ("image_only", "no_transfer")},
    "vgg_to_vgg": {"target": ("base", "random_weights")},
    "cnn_to_text": {"images, all a class": (), "documents, all a class": ()},
    "bert_news": {"bert": ("tf_idf",), "bert_robust": ("bert",)},
    "fusion": {"fused": ("image_only", "text_only")},
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
MEAN = "mean accuracy of BERT on "
# How gains begin that experiments/README.md tells: two classifiers under attack, a scorer that moved.
UNDER_ATTACK, MOVED = r"\w+ in the place of \w+, under ", "the scorer of the "
# Results of further questions, put in text alone, and those of the same question with labels of images.
IN_TEXT_ALONE, WITH_LABELS = "zero_image, ", "text, "
# What the rows say, and the heads of the table. In Chinese those of the records above are enough.
ENGLISH = {
    "head": ("record", "data", "accuracy, with its 95% interval", "beside it", "commit", "minutes"),
    "others": "mean of {} other test sets",
    "moved": "with the other's scorer: {} points",
    "under attack": "under attack",
    "in text alone": "asked in text alone: {}",
    "with labels": "with labels of images: {}",
    "sentences read": "{:,} images: BERT reads {:,} sentences in {:.1f} s",
    "sentences of": "logits drawn for {:,} images: BERT reads {:,} sentences in {:.1f} s",
    "promises": ("promised", "recorded"),
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
    "in text alone": "只用文字提问: {}",
    "with labels": "使用图像标签: {}",
    "promises": ("承诺", "记录"),
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
    sections = "\n".join(_section(path) for path in sorted(records.glob("*.json")))
    return ALL_TABLES.format(headlines(records)) + sections


def headlines(records: Path) -> str:
    """Returns a Markdown table with what each record in a folder is judged by."""
    lines = _headline_head(ENGLISH)
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text())
        for place, row in enumerate(_headline_rows(record, ENGLISH).values()):
            # What is the same in all rows of a record stands in the first one.
            lines.append(_headline(path.stem, record, row) if place == 0 else _row(("", "", *row, "", "")))
    return "\n".join(lines) + "\n"


def ten_headlines(records: Path, words: dict) -> str:
    """Returns the rows for a reader who is new here, as a Markdown table.

    Args:
        records: the folder.
        words: `ENGLISH` or `CHINESE`.
    """
    lines = _headline_head(words)
    for name, what in TEN:
        record = json.loads((records / f"{name}.json").read_text())
        lines.append(_headline(name, record, _headline_rows(record, words)[what], RESULTS_PAGE))
    return "\n".join(lines) + "\n"


def promises(records: Path, words: dict = ENGLISH) -> str:
    """Returns a Markdown table of what was promised, and of what records in a folder hold against it."""
    lines = [_row(words["promises"]), "| --- | --- |"]
    for name, headline in PROMISES.items():
        record = json.loads((records / f"{name}.json").read_text())
        result, minutes = record["results"][headline], record["wall_seconds"] / 60
        low, high = (100 * end for end in result["ci95"])
        told = (result["accuracy"], low, high, result["n"], minutes, record["hardware"]["cores"])
        link = f"[{name}]({RESULTS_PAGE}#{name})"
        lines.append(_row((words[name], f"{words['kept'].format(*told)}: {link}")))
    return "\n".join(lines) + "\n"


def comparisons(records: Path, begin: str) -> str:
    """Returns a Markdown list of the comparisons in a folder's records that begin with a pattern."""
    return "".join(
        f"- [{path.stem}](results/README.md#{path.stem}): {gain['sentence']}.\n"
        for path in sorted(records.glob("*.json"))
        for gain in json.loads(path.read_text()).get("gains", ())
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
    example = json.loads((RECORDS / "vgg_to_bert.json").read_text())
    files = {RECORDS / "README.md": render(RECORDS)}
    page = ROOT / "experiments" / "README.md"
    text = filled(page.read_text(), "moved", comparisons(RECORDS, MOVED))
    files[page] = filled(text, "robust", comparisons(RECORDS, UNDER_ATTACK))
    for name, words in README_LANGUAGES.items():
        text = filled((root / name).read_text(), "results", ten_headlines(RECORDS, words))
        text = filled(text, "promises", promises(RECORDS, words))
        files[root / name] = filled(text, "printed", printed(example))
    return files


def _headline_head(words: dict) -> list[str]:
    return [_row(words["head"]), "| --- | --- | --- | --- | --- | ---: |"]


def _headline(name: str, record: dict, row: tuple[str, str], page: str = "") -> str:
    minutes = f"{record['wall_seconds'] / 60:.1f}"
    link = f"[{name}]({page}#{name})"
    return _row((link, ", ".join(_read_from(record)), *row, record["commit"][:7], minutes))


def _headline_rows(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    """Returns what a record is judged by, and what stands beside it, by a name for each row."""
    return BENCHES[record["bench"]][1](record, words) if "bench" in record else _figures(record, words)


def _figures(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    results = record["results"]

    def told(name: str) -> str:
        return f"`{name}` {results[name]['accuracy']:.2%}"

    rows = {}
    for name, others in HEADLINES[record["experiment"]].items():
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
    asked = [name.removeprefix(IN_TEXT_ALONE) for name in results if name.startswith(IN_TEXT_ALONE)]
    if asked:
        answers = {
            kind: ", ".join(f"{name} {results[kind + name]['accuracy']:.2%}" for name in asked)
            for kind in (IN_TEXT_ALONE, WITH_LABELS)
        }
        rows["asked"] = (
            words["in text alone"].format(answers[IN_TEXT_ALONE]),
            words["with labels"].format(answers[WITH_LABELS]),
        )
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


def _section(path: Path) -> str:
    record = json.loads(path.read_text())
    lines = [_origin(path.stem, record), ""]
    if "bench" in record:
        return "\n".join([*lines, *BENCHES[record["bench"]][0](record), ""])
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
    # Names within a sentence keep their capitals.
    sentences = " ".join(f"{gain['sentence'][:1].upper()}{gain['sentence'][1:]}." for gain in record["gains"])
    sentences += "".join(
        f" {fact[:1].upper()}{fact[1:]}: {value:.2f}."
        for fact, value in record["facts"].items()
        if fact.startswith("errors of fused")
    )
    lines += ["", *([sentences, ""] if sentences else [])]
    return "\n".join([*lines, *(line for table in record.get("tables", ()) for line in _table(table))])


def _table(table: dict) -> list[str]:
    """Renders a table of a record; a long one, or one of texts, unfolds at a click."""
    rows = [[_cell(*cell) for cell in zip(table["head"], row, strict=True)] for row in table["rows"]]
    head = table["head"]
    if any(name.endswith(FROM) for name in head):
        head, rows = _with_intervals(table)
    numbers = [all(re.match(r"[-+]?\d|$", row[place]) for row in rows) for place in range(len(head))]
    rule = ["---:" if number else "---" for number in numbers]
    lines = [_row(head), _row(rule), *map(_row, rows), ""]
    if len(rows) > MOST_ROWS or any(len(cell) > LONGEST_CELL for row in rows for cell in row):
        return [f"<details><summary>{table['caption']}</summary>", "", *lines, "</details>", ""]
    return [f"{table['caption']}:", "", *lines]


def _cell(column: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    usual = ",d" if isinstance(value, int) else ",.0f" if abs(value) >= 1000 else ".3g"
    return format(value, FORMS.get(column, usual))


def _with_intervals(table: dict) -> tuple[list[str], list[list[str]]]:
    """Writes each accuracy of a table of `xmodal.robustness` with the ends of its interval."""

    def told(value: float, low: float, high: float) -> str:
        return f"{value:.1%} ({low:.1%} to {high:.1%})"

    rows = [[name, *map(told, cells[::3], cells[1::3], cells[2::3])] for name, *cells in table["rows"]]
    return [table["head"][0], *table["head"][1::3]], rows


def _row(cells) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/').replace('<', '&lt;') for cell in cells)} |"


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
        f"that faker made: {'; '.join(figures)}. {record['documents_a_second']:,.0f} documents a second.",
        "",
        "| mark | pieces | found | of what was marked, right |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {mark} | {record[f'{mark} pieces']:,} | {record[f'{mark} recall']:.2%} "
            f"| {record[f'{mark} precision']:.2%} |"
            for mark in (name.removesuffix(" pieces") for name in record if re.match(r"\[.* pieces", name))
        ),
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
        f"| {row['what']} | {row['peer']} | {row['unit']} | {row['first']:,.4g} | {row['second']:,.4g} "
        f"| {row['ratio']:.3g} | {row['ratio_least']:.3g} to {row['ratio_most']:.3g} | {besides(row)} |"
        for row in record["rows"]
    ]
    most = "; ".join(
        f"{dtype}: {rates['matrix_gflops']:,.0f} GFLOP/s of a matrix product, "
        f"{rates['convolution_gflops']:,.0f} of a convolution, {rates['copy_gigabytes']:.0f} GB/s copied"
        for dtype, rates in record["limits"].items()
    )
    return [
        f"The machine's own limits: {most}. Other processes took {record['busy'] or 0:.0%} of it before. "
        f"Both sides compute with {record['threads']} threads.",
        "",
        "| what | against | unit | xmodal | the other | times as fast | least to most | |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
        *rows,
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
        lines += [_row(head), "| --- |" + " ---: |" * len(sizes)]
        for stage in stages:
            cells = [
                f"{size[stage]['seconds']:.1f} s, {size[stage]['megabytes']:,.0f} MB" if stage in size else ""
                for size in sizes.values()
            ]
            lines.append(_row((stage, *cells)))
        read = [f"{size['text']['sentences']:,}" for size in sizes.values()]
        lines += [_row(("distinct sentences", *read)), ""]
    return [
        *lines,
        f"Seconds and peak memory of each stage, each size in a process of its own: noise of 32 pixels in "
        f"{len(record['classes'])} numbers of classes with {record['images_of_classes']:,} images each. Of "
        f"{record['simulated']:,} images the logits were drawn, block by block, and put into words.",
    ]


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

"""What the records of benchmarks become: their sections, and their rows among the headlines."""

import importlib
import re

from rendering.markdown import grid

from xmodal.bench.paired_timing import besides


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
        *grid(("mark", "pieces", "found", "of what was marked, right"), rows),
        *_written_lines(record),
    ]


def _written_lines(record: dict) -> list[str]:
    languages = {"en": "English", "zh": "Chinese", "de": "German", "fr": "French"}
    rows = [
        (
            name,
            f"{record[f'written {code} lines']:,}",
            f"{record[f'written {code} pieces']:,}",
            *(f"{record[f'written {code} {x}']:.2%}" for x in ("recall", "precision")),
        )
        for code, name in languages.items()
        if f"written {code} lines" in record
    ]
    if not rows:
        return []
    head = ("written by hand in", "lines", "pieces", "found", "of what was marked, right")
    return ["", *grid(head, rows)]


def _fuzz(record: dict) -> list[str]:
    rows = [
        (name.replace("_", " "), f"{count['held']:,}", f"{count['cases']:,}", "; ".join(count["failures"]))
        for name, count in record["targets"].items()
    ]
    return [
        "Odd and damaged input in a jail, by `python tests/fuzz/fuzz.py`: held means an answer, or one line "
        "that says what is wrong, and nothing else changed.",
        "",
        *grid(("what was given", "held", "of", "what did not hold"), rows),
    ]


def _fuzz_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    told = words["held"].format(record["held"], record["cases"], record["held"] / record["cases"])
    return {"held": (told, "")}


def _kills(record: dict) -> list[str]:
    rows = [
        (name, str(count["kills"]), f"{count['same']} of {count['ended']}")
        for name, count in record["jobs"].items()
    ]
    return [
        "Commands that are killed (SIGKILL) at random moments and given again until they end, by "
        "`python tests/helpers/kills.py`, on tiny data, compared with one that was left alone: results, "
        "epochs, versions of the export, what was fetched, and no unfinished files.",
        "",
        *grid(("command", "kills", "ended as without"), rows),
    ]


def _kills_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    same, ended = (sum(job[key] for job in record["jobs"].values()) for key in ("same", "ended"))
    return {"kills": (words["kills"].format(record["cases"], same, ended), "")}


def _as_printed(record: dict) -> list[str]:
    """The tables that the benchmark prints."""
    tables = importlib.import_module(f"xmodal.bench.{record['bench']}").tables(record)
    return [line for made in tables for line in (f"{made.caption}:", "", *grid(made.head, made.rows))]


def _ask_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    rate = record["rate"]
    asked = f"{words['asked']}: {rate['first']:,.4g}"
    return {"ask": (asked, f"{words['classifier alone']}: {rate['second']:,.4g}; {_times(rate, words)}")}


def _open_set_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    source, least = min(record["outside"].items(), key=lambda item: item[1]["auroc"])
    return {"open set": (words["open set"].format(least["auroc"], source), "")}


def _larger_networks_headline(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    sooner = [
        run["passes"] is not None and other["passes"] is not None and 2 * run["passes"] <= other["passes"]
        for runs in record["comparisons"].values()
        for run, other in zip(runs["identity"], runs["random"], strict=True)
    ]
    return {"larger networks": (words["half the passes"].format(sum(sooner), len(sooner)), "")}


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
        *grid(("images or rows a second", "first", "second", "ratio", "least to most"), rows),
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
        *grid(("", "export", "Keras `predict`", "ratio", "least to most"), rows),
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
        *grid(head, rows),
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
        lines += [*grid(head, [*rows, ("distinct sentences", *read)]), ""]
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
    "ask": (_as_printed, _ask_headline),
    "engine": (_engine, _engine_headline),
    "fuzz": (_fuzz, _fuzz_headline),
    "growth": (_growth, _growth_headline),
    "kills": (_kills, _kills_headline),
    "larger_networks": (_as_printed, _larger_networks_headline),
    "open_set": (_as_printed, _open_set_headline),
    "scrub": (_scrub, _scrub_headline),
    "serving": (_serving, _serving_headline),
    "speed": (_speed, _speed_headline),
    "text_stage": (_text_stage, _text_stage_headline),
}

"""What the record of a run becomes: its section, and its rows among the headlines."""

import re

from rendering.markdown import grid, table_lines

from xmodal.core.formatting import plural
from xmodal.evaluation.intervals import findings

# Flags that are told where they differ from these.
USUAL = {
    "precision": "float32",
    "train_examples": "0",
    "text_encoder": "minilm_l6",
    "also_train": "none",
    "sounds": "none",
}
# Experiments whose examples are not images alone.
MIXED = ("cnn_to_text", "text_to_image")
# What each experiment is judged by: a result, and those of the same run that stand beside it.
HEADLINES = {
    "vgg_to_bert": {
        "both_texts": ("image_only", "speaker_text"),
        "text": ("image_only", "audio_only", "no_transfer"),
    },
    "vgg_to_vgg": {"target": ("base", "random_weights")},
    "cnn_to_text": dict.fromkeys((f"{name}, all a class" for name in ("images", "documents", "sounds")), ()),
    "bert_news": {"bert": ("tf_idf", "no_transfer"), "bert_robust": ("bert",)},
    "fusion": {"fused": ("image_only", "text_only", "sound_only", "no_transfer")},
    "names_to_answers": {
        "noisy_student": ("self_train", "name_mixture"),
        "self_train": ("name_mixture",),
        "name_mixture": ("name_mixture_plain",),
    },
    "text_to_image": {"text_to_image": ("text_to_image_unseen", "judge"), "image_to_text": ("judge",)},
}
MEAN = "mean accuracy of BERT on "
# How gains begin that experiments/README.md tells: two classifiers under attack, a scorer that moved.
UNDER_ATTACK, MOVED = r"\w+ in the place of \w+, under ", "the scorer of the "


def figures(record: dict, words: dict) -> dict[str, tuple[str, str]]:
    """Returns what a run is judged by, and what stands beside it, by a name for each row."""
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
        f"{100 * gain['difference']:+z.1f} [{100 * gain['ci95'][0]:+z.1f}, {100 * gain['ci95'][1]:+z.1f}]"
        for gain in record["gains"]
        if amount and gain["sentence"].startswith("the scorer") and f"at {amount}," in gain["sentence"]
    ]


def result_lines(record: dict) -> list[str]:
    """Returns the lines of the results, sentences and tables of a run."""
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
    head = ("result", "accuracy", "95% interval", source_of(record)[1], "log loss", "seconds")
    lines = [*grid(head, rows), ""]
    # Names within a sentence keep their capitals.
    told = findings([gain["sentence"] for gain in record["gains"]])
    sentences = " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in told)
    sentences += "".join(
        f" {fact[:1].upper()}{fact[1:]}: {value:.2f}."
        for fact, value in record["facts"].items()
        if fact.startswith("errors of fused")
    )
    lines += [sentences, ""] if sentences else []
    return [*lines, *(line for table in record.get("tables", ()) for line in table_lines(table))]


def read_from(record: dict) -> list[str]:
    """Returns the flags that name what was read and what was unusual, without folders of one machine."""
    flags = flags_of(record)
    flag, _ = source_of(record)
    named = {flag: (flags | {"bench": record.get("bench", "")})[flag]}
    if flags["experiment"] == "cnn_to_text" and "bench" not in record:
        named["documents"] = flags["documents"]
    if flags.get("answers"):
        named["answers"] = flags["answers"]
    named |= {name: flags[name] for name, usual in USUAL.items() if flags.get(name, usual) != usual}
    # Mostly its upper blocks learn, or its head.
    if flags["experiment"] == "vgg_to_bert" and flags.get("trainable") == "all":
        named["trainable"] = "all"
    told = [f"`--{name}={value}`" for name, value in named.items()]
    return [re.sub(r"(folder|dir|csv|tsv|jsonl):.*/", r"\1:", item) for item in told]


def origin(name: str, record: dict) -> str:
    """Returns the head of a section: what was read, the seed, the commit and the machine."""
    seed, machine, minutes = flags_of(record)["seed"], record["hardware"], record["wall_seconds"] / 60
    return (
        f"## {name}\n\n{', '.join(read_from(record))}, seed {seed}, commit {record['commit'][:12]}, "
        f"{plural(machine['cores'], 'core')} of {machine['cpu']}, {minutes:.1f} minutes in all."
    )


def flags_of(record: dict) -> dict[str, str]:
    return dict(flag.removeprefix("--").partition("=")[::2] for flag in record["flags"])


def source_of(record: dict) -> tuple[str, str]:
    """Returns the flag that names what was read, and what it consists of."""
    if record.get("bench") in ("scrub", "fuzz", "kills"):
        return "bench", "documents" if record["bench"] == "scrub" else "cases"
    if flags_of(record)["experiment"] == "bert_news":
        return "documents", "documents"
    if flags_of(record)["experiment"] == "fusion":
        return "pairs", "pairs"
    if "audio_only" in record.get("results", ()):
        return "dataset", "sounds"
    return "dataset", "examples" if flags_of(record)["experiment"] in MIXED else "images"

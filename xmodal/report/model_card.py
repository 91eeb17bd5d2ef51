"""A model card (Mitchell et al. 2019, arXiv:1810.03993) as Markdown, beside an exported model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodal.core.formatting import capitalize, interval, percent, printable
from xmodal.report.records import Run

if TYPE_CHECKING:
    from xmodal.evaluation.metrics import Result
    from xmodal.report.records import Ingredient

MAX_NAMES = 50
OWN = "not known to xmodal: ask where it came from"
# What the signatures of each experiment's export take and give.
ANSWER = "label, probability, probabilities"
PROMISED = (
    "answers, the set that holds the right one as often as `max_error` promises; certainty, which orders "
    "answers; unknown, the share of known inputs that are less strange; verdict, what is promised in words"
)
# Of an export that gives several labels.
SEVERAL = (
    f"{ANSWER}, each label for itself; labels: those whose probabilities reach their thresholds, likeliest "
    "first; a sentence of them, and what was read"
)
WORDS = (
    "why_text",
    "text",
    "words, how much of the probability each carries (shares, by integrated gradients), and the difference "
    "that they sum to; a model whose vectors of tokens are not found has none",
)
MAP = (
    "why",
    "image_bytes",
    "map: where the network sees the class that it finds likeliest (Grad-CAM); of a network with maps alone",
)
LABELS = ("labels", "nothing", "labels, in the order of the probabilities")
SIGNATURES = {
    "vgg_to_bert": (
        ("serving_default", "image_bytes", f"{ANSWER}, the sentence that was read; {PROMISED}"),
        ("text", "text", ANSWER),
        (
            "image_and_text",
            'image_bytes and text, "" for a missing one',
            "the same as serving_default, from the mean of the log probabilities of both",
        ),
        (
            "embed_image",
            "image_bytes",
            "embedding: that of the sentence which the bridge writes for the image, or the mean over several "
            "wordings, of length 1. It knows of the image what the sentence says",
        ),
        ("embed_text", "text", "embedding: BERT's sentence vector, of length 1, in the space of embed_image"),
        MAP,
        WORDS,
        LABELS,
    ),
    "fusion": (
        (
            "serving_default, image_and_text",
            'image_bytes and text, "" for a missing one',
            f"{ANSWER}; {PROMISED}",
        ),
        ("image", "image_bytes", ANSWER),
        ("text", "text", ANSWER),
        ("embed_image", "image_bytes", "embedding: the pooled features of the image encoder, of length 1"),
        (
            "embed_text",
            "text",
            "embedding: BERT's sentence vector, of length 1. It is in another space than those of images",
        ),
        (MAP[0], "image_bytes and text", "map: where the image speaks for the likeliest answer (Grad-CAM)"),
        (WORDS[0], "image_bytes and text", WORDS[2]),
        LABELS,
    ),
    "names_to_answers": (
        (
            "serving_default, ask",
            "image_bytes, and answers: any number of texts",
            "probabilities of the answers, label, probability; names, weights and a sentence of them: what "
            "the speaker sees",
        ),
        ("speak", "image_bytes", f"{ANSWER} of the speaker's own names, and embedding: the mixture of these"),
        (
            "embed_text",
            "text",
            "embedding: BERT's sentence vector, of length 1, in the space of the mixtures",
        ),
        (
            "concepts, of a run with --concepts",
            "image_bytes",
            f"{ANSWER} that was learned from concepts; those that spoke for it, and the scores of all",
        ),
        (
            "adapted, of a run with --adapt=self_train or noisy_student",
            "image_bytes",
            f"{ANSWER} of the run, learned from images without labels",
        ),
        LABELS,
    ),
    "bert_news": (
        ("serving_default", "text", f"{ANSWER}, what was read of the text; {PROMISED}"),
        WORDS,
        LABELS,
    ),
    "text_to_image": (
        ("encoders: serving_default, embed_text", "text", "embedding, of length 1, in one space with images"),
        ("encoders: embed_image", "image_bytes", "embedding, of length 1, in one space with texts"),
    ),
}
# The same of a fusion with sounds.
WHOLE = "image_bytes, text and audio_bytes"
WITH_SOUNDS = (
    ("serving_default, image_and_text_and_sound", f'{WHOLE}, "" for a missing one', f"{ANSWER}; {PROMISED}"),
    (
        "image, text, sound, image_and_text, image_and_sound, text_and_sound",
        "of image_bytes, text and audio_bytes (WAV) those of its name",
        ANSWER,
    ),
    *(row for row in SIGNATURES["fusion"] if row[0].startswith("embed_")),
    (
        "embed_sound",
        "audio_bytes",
        "embedding: the pooled features of the sound's spectrograms, in their mean, of length 1",
    ),
    *((name, WHOLE, gives) for name, _, gives in SIGNATURES["fusion"] if name.startswith("why")),
    LABELS,
)
# Of videos.
FRAMES = (
    "frames",
    "frames: (B, n, H, W, 3) float32 from 0 to 255, below 0 in the place of missing ones",
    "the same as serving_default, of videos that were decoded elsewhere",
)
LIMITS = (
    "Whatever it is asked, it answers. Where it tells `unknown` beside its answer, that is how strange the "
    "input is among inputs of the known kind; something strange may still pass for known.",
    "Its probabilities were calibrated on a validation split of the same data, and so were the figures above "
    "measured on a test split of it. On other data both can be worse.",
    "It learned from people's labels, with their mistakes, and from encoders trained on text and pictures of "
    "the web, with what is unfair in these.",
)
# In the folder of an export.
CARD = "model_card.md"


def card(run: Run, made_from: Sequence[Ingredient], ask: str) -> str:
    """Returns the card: what the model answers, figures, data, licences, limits, and how it was made.

    Args:
        run: the finished run.
        made_from: the weights and data that it started from.
        ask: a command that asks the model.
    """
    parts = [
        f"# {_text(run.title)}",
        f"Experiment `{run.experiment}`, seed {run.seed}. {_classes_text(run.main_result)}",
        "## Use",
        _code(ask),
        _table(("signature", "takes", "gives"), _signatures(run)),
        *(_figures(run, run.main_result) if run.main_result else []),
        *([_list(map(capitalize, run.findings))] if run.gains else []),
        "## Data",
        _table(
            ("split", "examples"),
            [(split, f"{sum(sizes.values()):,}") for split, sizes in run.data.counts.items()],
        ),
        *([_list(run.data.warnings)] if run.data.warnings else []),
        "## Made from",
        _table(
            ("flag", "what", "licence"),
            [(f"--{part.flag}", part.value, part.licence or OWN) for part in made_from],
        ),
        "## Limits",
        _list(LIMITS),
        "## How it was made",
        _code(run.command),
        _code(run.flags.rstrip("\n")),
    ]
    return "\n\n".join(parts) + "\n"


def _signatures(run: Run) -> Sequence[Sequence[str]]:
    rows = WITH_SOUNDS if "sound_only" in run.results else SIGNATURES[run.experiment]
    if run.main_result and not run.main_result.confusion:
        takes = rows[0][1]
        names = ("serving_default", "text") if takes != "text" else ("serving_default",)
        return (*((name, takes if name == "serving_default" else name, SEVERAL) for name in names), LABELS)
    if run.noun == "image":
        return rows
    # Of sounds and videos the same ones have their names.
    input_name = {"sound": "audio_bytes", "video": "video_bytes, GIF alone"}[run.noun]
    media_rows = [
        [cell.replace("image_bytes", input_name).replace("image", run.noun) for cell in row] for row in rows
    ]
    return media_rows + [FRAMES] * (run.noun == "video")


def _classes_text(result: Result | None) -> str:
    if result is None:
        return "It was asked about images without labels."
    names = [_text(name) for name in result.class_names[:MAX_NAMES]]
    remaining_count = len(result.class_names) - len(names)
    more = f" and {remaining_count:,} more" if remaining_count > 0 else ""
    return f"It knows {len(result.class_names):,} classes: {', '.join(names)}{more}."


def _figures(run: Run, main: Result) -> list[str]:
    rows = [
        (
            name,
            percent(item.accuracy, item.n),
            interval(item.ci95, item.n),
            f"{item.n:,}",
            f"{item.log_loss:.3f}",
        )
        for name, item in run.results.items()
    ]
    return [
        "## Figures",
        f"The model is {_text(main.name)}; the others were measured beside it, on the same examples.",
        _table(("", "accuracy", "95% interval", "examples", "log loss"), rows),
    ]


def _text(value: str) -> str:
    """Names come from outside: they are no markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", printable(value))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell if cell == "---" else _text(cell) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _list(lines) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _code(text: str) -> str:
    # Indented, since a fence could be closed by the text itself.
    return "\n".join(f"    {printable(line)}" for line in text.splitlines())

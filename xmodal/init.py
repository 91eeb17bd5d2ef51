"""Looks at your pictures or texts and writes a commented flagfile for them.

    python -m xmodal.init photos                 # a folder of pictures for each class
    python -m xmodal.init letters --output=letters.cfg
    python -m xmodal.init reviews.csv            # columns text and label, or image and label

What it finds wrong with the data it says, as a run would.
"""

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodal.core.command import Parser, exit_code
from xmodal.core.errors import UserError
from xmodal.core.files import NONE, target_of, write_text
from xmodal.core.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
    import numpy as np

    from xmodal.data.documents import DocumentData
    from xmodal.data.images import ImageData

TABLES = (".csv", ".tsv", ".jsonl")
TEXT = ".txt"
# So many examples are looked at for their sizes, lengths and script.
SAMPLE = 200
# Squares that halve evenly, five times, on their way through a VGG.
SIDES = (32, 64, 96, 128, 160, 192, 224)
# A processor trains at this side in reasonable time; a GPU takes more.
SIDE_OF_PROCESSORS = 96
# Pieces of words in a word of English text, about.
PIECES = 1.4
SEQUENCES = (32, 64, 128, 256, 512)
FEW_EXAMPLES = 200


@dataclass(frozen=True)
class Choice:
    """Flags that belong together.

    Attributes:
        why: what they follow from, in words.
        flags: each a line of the flagfile.
    """

    why: str
    flags: tuple[str, ...]


def choices_for_images(data: "ImageData") -> list[Choice]:
    """Returns what fits a set of images: their side, how they are moved, what learns."""
    import tensorflow as tf

    places = _some(len(data.train))
    shapes = [
        tf.io.decode_image(data.train.encoded(place), expand_animations=False).shape for place in places
    ]
    median = sorted(min(shape[:2]) for shape in shapes)[len(shapes) // 2]
    side = max((size for size in SIDES if size <= max(median, SIDES[0])), default=SIDES[0])
    choices = [
        Choice(
            f"Half of the images are at least {median:,} pixels wide and high. The time grows with the "
            f"square of this; a GPU takes {side}.",
            (f"--image_size={min(side, SIDE_OF_PROCESSORS)}",),
        )
    ]
    if all(len(name) == 1 for name in data.class_names):
        choices.append(Choice("Signs are others when they are mirrored.", ("--augment=shift,rotate,zoom",)))
    else:
        choices.append(Choice("Mirrored, the images show the same.", ("--augment=flip,shift",)))
    fewest = min(Counter(data.train.labels.tolist()).values())
    if fewest < FEW_EXAMPLES:
        choices.append(
            Choice(
                f"A class has {fewest:,} examples to learn from: enough for a head on the frozen network.",
                ("--trainable=head", "--epochs=4"),
            )
        )
    else:
        choices.append(
            Choice(
                f"Every class has {fewest:,} examples or more: the upper layers can learn too.",
                ("--trainable=block4", "--epochs=4"),
            )
        )
    choices.append(
        Choice(
            "Sentences of class names are few and short: the upper half of BERT learns what they mean.",
            ("--text_trainable=transformer_layer_3", "--text_epochs=16", "--text_learning_rate=5e-4"),
        )
    )
    return [*choices, *_rare_classes(fewest)]


def choices_for_documents(data: "DocumentData") -> list[Choice]:
    """Returns what fits a set of documents: the encoder, the length, how it learns."""
    texts = [data.train.texts[place] for place in _some(len(data.train))]
    words = sorted(len(text.split()) for text in texts)[int(0.9 * len(texts))]
    scripts = Counter(
        unicodedata.name(character, "?").split()[0]
        for text in texts
        for character in text[:1000]
        if character.isalpha()
    )
    latin = scripts["LATIN"] / max(scripts.total(), 1)
    if latin > 0.9:
        length = _enough(PIECES * words)
        encoder = Choice(
            "For English. Other languages in Latin letters: multilingual_e5_small, as in "
            "experiments/across_languages.cfg.",
            (
                "--text_encoder=minilm_l6",
                "--text_trainable=all",
                "--text_learning_rate=1e-4",
                "--layer_decay=0.9",
            ),
        )
    else:
        # Scripts without spaces have no words to count: a piece is one to two characters.
        characters = sorted(map(len, texts))[int(0.9 * len(texts))]
        length = _enough(characters / 1.5)
        script = max(scripts, key=lambda name: (name != "LATIN", scripts[name]))
        encoder = Choice(
            f"{1 - latin:.0%} of the letters are not Latin (most of them {script.lower()}): an encoder of "
            "about 100 languages.",
            (
                "--text_encoder=multilingual_e5_small",
                "--text_trainable=transformer_layer_9",
                "--text_learning_rate=1e-3",
                "--layer_decay=0.3",
                "--clip_norm=1",
            ),
        )
    counts = Counter(data.train.labels.tolist())
    fewest, most = min(counts.values()), max(counts.values())
    choices = [
        encoder,
        Choice(
            f"Nine of ten documents have up to {words:,} words; what is longer than this is cut.",
            (f"--sequence_length={length}",),
        ),
        Choice("Texts of like length share a batch.", ("--text_batch_size=16", "--length_window=50")),
        Choice(
            "It stops when the validation loss rises.",
            (f"--text_epochs={8 if len(data.train) < 2000 else 4}", "--patience=2"),
        ),
    ]
    choices.append(
        Choice(
            "The same encoder from random weights says what its own are worth, with all documents alone; "
            "--per_class=20,100,500,all also asks that with fewer, --nobaseline leaves it out.",
            ("--per_class=all",),
        )
    )
    if most > 10 * fewest:
        choices.append(
            Choice(
                f"The largest class has {most:,} examples, the smallest {fewest:,}: each counts the same.",
                ("--class_weights=balanced",),
            )
        )
    return [*choices, *_rare_classes(fewest)]


def flagfile(name: str, head: str, fixed: Sequence[str], choices: Sequence[Choice]) -> str:
    """Returns the text of a flagfile.

    Args:
        name: of the file, for the command in its head.
        head: what was found, a sentence.
        fixed: the flags of the experiment and the data.
        choices: what fits it.
    """
    lines = [f"# {head}", f"#   python -m xmodal.run --flagfile={name}", *fixed]
    for choice in choices:
        lines += ["", *(f"# {line}" for line in _wrapped(choice.why)), *choice.flags]
    return "\n".join(lines) + "\n"


def _some(count: int) -> "np.ndarray":
    import numpy as np

    return np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False)


def _enough(pieces: float) -> int:
    return next((length for length in SEQUENCES if length >= pieces), SEQUENCES[-1])


def _rare_classes(fewest: int) -> list[Choice]:
    if fewest > 1:
        return []
    return [Choice("There is a class with one example to learn from.", ("--min_per_class=1",))]


def _wrapped(words: str) -> list[str]:
    import textwrap

    return textwrap.wrap(words, 106)


def source_of(path: Path) -> tuple[str, bool]:
    """Returns what --dataset or --documents takes for a path, and whether it holds documents.

    Raises:
        UserError: when there is nothing in it that a run could read.
    """
    from xmodal.data.folders import files_under

    if not path.exists():
        raise UserError(f"{str(path)!r} does not exist", "give a folder or a table")
    if path.is_file():
        if path.suffix not in TABLES:
            raise UserError(
                f"{str(path)!r} is no table", f"give a folder, or a file ending in {', '.join(TABLES)}"
            )
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = file.readline()
        if "image" in head and "text" in head:
            raise UserError(
                f"{str(path)!r} holds both images and texts",
                f"run --flagfile=experiments/fusion.cfg --pairs={path.suffix[1:]}:{path}",
            )
        if "image" in head and path.suffix == ".csv":
            return f"csv:{path}", False
        return f"{path.suffix[1:]}:{path}", True
    kinds = Counter(file.suffix.lower() for file in files_under(path))
    if not kinds:
        raise UserError(f"the folder {str(path)!r} holds no files", "put pictures or .txt files in it")
    documents = kinds[TEXT] > kinds.total() - kinds[TEXT]
    return f"{'dir' if documents else 'folder'}:{path}", documents


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 the user can mend it, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.init", __doc__)
    parser.add_argument("path", type=Path, help="a folder, or a table")
    parser.add_argument("--output", type=Path, help="the flagfile; default NAME.cfg")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    name = options.path.absolute().stem
    output = options.output or Path(f"{name}.cfg")
    # Somebody may have worked on a flagfile since it was written.
    target_of(output, NONE, overwrite=options.overwrite)
    source, documents = source_of(options.path)
    start_tensorflow("3")
    head, fixed, choices = _looked_at(source, documents, name)
    write_text(output, flagfile(str(output), head, fixed, choices), NONE, overwrite=options.overwrite)
    print(f"{head}\n\nwritten: {output}\nnext:\n  python -m xmodal.run --flagfile={output}")


def _looked_at(source: str, documents: bool, name: str) -> tuple[str, list[str], list[Choice]]:
    from xmodal.core.files import cache_folder
    from xmodal.data.documents import load_documents
    from xmodal.data.images import load_images

    data: DocumentData | ImageData
    if documents:
        data = load_documents(source, cache=cache_folder(), offline=True, min_per_class=1)
        choices, things, flags = choices_for_documents(data), "documents", ("bert_news", "documents")
    else:
        data = load_images(source, cache=cache_folder(), offline=True, min_per_class=1)
        choices, things, flags = choices_for_images(data), "images", ("vgg_to_bert", "dataset")
    for warning in data.report.warnings:
        print(f"warning: {warning}")
    counts = ", ".join(f"{len(getattr(data, split)):,} {split}" for split in ("train", "validation", "test"))
    head = f"{counts} {things} of {len(data.class_names):,} classes"
    fixed = [
        f"--experiment={flags[0]}",
        f"--{flags[1]}={source}",
        f"--output_dir=runs/{name}",
        f"--saved_models_dir=saved_models/{name}",
    ]
    return head, fixed, choices


if __name__ == "__main__":
    sys.exit(main(sys.argv))

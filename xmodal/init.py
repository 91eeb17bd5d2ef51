"""Looks at your pictures, texts, sounds or videos and writes a commented flagfile for them.

    python -m xmodal.init photos                 # a folder of pictures, sounds or videos for each class
    python -m xmodal.init letters --output=letters.cfg
    python -m xmodal.init reviews.csv            # columns text and label, or image and label

What it finds wrong with the data it says, as a run would.
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from xmodal.config.config import Config
from xmodal.config.data import DataConfig, DocumentConfig, SplitConfig
from xmodal.config.fields import options_of
from xmodal.config.flagfiles import Choice, flagfile
from xmodal.config.run import RunConfig
from xmodal.core.command import Parser, exit_code
from xmodal.core.console import log
from xmodal.core.errors import UserError, spell_as_flags
from xmodal.core.files import NONE, target_of, write_text
from xmodal.core.formatting import printable
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.data.source_of_path import source_of
from xmodal.data.tables import TABLES

if TYPE_CHECKING:
    import numpy as np

    from xmodal.data.documents import DocumentData
    from xmodal.data.images import ImageData

# So many examples are looked at for their sizes, lengths and script.
SAMPLE = 200
# A processor trains at this side in reasonable time; a GPU takes more.
SIDE_OF_PROCESSORS = 96
# Pieces of words in a word of English text, about.
PIECES = 1.4
SEQUENCES = (32, 64, 128, 256, 512)
FEW_EXAMPLES = 200
# Of a spectrogram.
SECONDS = (0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
# Flags of a run that say how data are read: what a message advises can be given here, and is written down.
SPLIT_FLAGS = ("class_names", "min_per_class", "group_column", "group_pattern")
DATA_FLAGS = (
    *SPLIT_FLAGS,
    *("text_column", "label_column", "split_column"),
    *("separator", "encoding", "fallback_encoding"),
)


def choices_for_images(data: "ImageData") -> list[Choice]:
    """Returns what fits a set of images or videos: their side, how they are moved, what learns."""
    from xmodal.data.images import SIDES, usual_side

    noun = data.train.medium.noun if data.train.medium else "image"
    median = usual_side(data.train.take(_sample_indices(len(data.train))))
    side = max((size for size in SIDES if size <= max(median, SIDES[0])), default=SIDES[0])
    choices = [
        Choice(
            f"Half of the {noun}s are at least {median:,} pixels wide and high. The time grows with the "
            f"square of this; a GPU takes {side}.",
            (f"--image_size={min(side, SIDE_OF_PROCESSORS)}",),
        )
    ]
    if all(len(name) == 1 for name in data.class_names):
        choices.append(Choice("Signs are others when they are mirrored.", ("--augment=shift,rotate,zoom",)))
    else:
        choices.append(Choice(f"Mirrored, the {noun}s show the same.", ("--augment=flip,shift",)))
    if noun == "video":
        reason = "So many frames of each are looked at, at equal distances; sentences speak of videos."
        choices.append(Choice(reason, ("--frames=8", "--template=a video of {}")))
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
    choices.append(_reader_of_sentences(data.class_names))
    return [*choices, *_rare_classes(fewest)]


def choices_for_sounds(data: "ImageData", grouped: bool) -> list[Choice]:
    """Returns what fits a set of sounds: rate, length, and what learns; `grouped`, their groups are told."""
    from xmodal.data.sounds import without_silence
    from xmodal.data.waves import decode_wave

    waves = [decode_wave(data.train.encoded(index), 0.0) for index in _sample_indices(len(data.train))]
    rate = sorted(int(rate) for _, rate in waves)[len(waves) // 2]
    lengths = sorted(len(without_silence(samples, int(rate))) / int(rate) for samples, rate in waves)
    usual_length = lengths[int(0.9 * (len(lengths) - 1))]
    seconds = next((length for length in SECONDS if length >= usual_length), SECONDS[-1])
    is_short = seconds <= 1
    choices = [
        Choice(
            f"Half of the sounds have {rate:,} samples a second or more; speech is told by half of 16,000.",
            (f"--sound_rate={max(8_000, min(rate, 16_000))}",),
        ),
        Choice(
            f"Nine of ten sound for up to {usual_length:.2g} seconds; of longer ones several parts are read.",
            (f"--sound_seconds={seconds:g}", f"--image_size={32 if is_short else 64}"),
        ),
        # Larger pictures have more places than can be kept of every view of many sounds.
        _learning_of_new_groups() if grouped and is_short else _learning_of_sounds(),
        Choice(
            "Changes that leave a sound what it is, and what its sentence is.",
            (
                *("--label_smoothing=0.1", "--augment=shift,speed,pitch"),
                *("--text_style=hedged", "--template=a recording of {}"),
            ),
        ),
        _reader_of_sentences(data.class_names),
    ]
    if not grouped:
        reason = (
            "Where voices are heard, nobody's should be in train and in test: --group_pattern finds who it "
            r"is in the path of a file, such as ([^/_]+)_[0-9]+\.wav."
        )
        choices.append(Choice(reason, ()))
    return [*choices, *_rare_classes(min(Counter(data.train.labels.tolist()).values()))]


def _learning_of_new_groups() -> Choice:
    reason = "As in experiments/sound_to_text.cfg: what two lower blocks see is least bound to a group."
    flags = ("--trainable=head", "--features=block2_pool", "--pooling=flatten", "--dropout=0.8")
    return Choice(reason, (*flags, "--head_epochs=10", "--epochs=6"))


def _learning_of_sounds() -> Choice:
    reason = "The upper block learns what is seen in sounds."
    flags = ("--grow=block3_conv4,block4_conv4", "--trainable=block4", "--features=block3_pool,block4_pool")
    return Choice(reason, (*flags, "--head_epochs=10", "--epochs=6"))


def _reader_of_sentences(class_names: Sequence[str]) -> Choice:
    """Chooses the encoder of the sentences by the script of the names that are in them."""
    share, script = other_letters(class_names)
    # A single name that MiniLM cannot read is one too many.
    if share:
        return Choice(
            f"Class names with letters that are not Latin (such as {script.lower()}): an encoder of "
            "about 100 languages.",
            (
                "--text_encoder=multilingual_e5_small",
                "--text_trainable=transformer_layer_9",
                "--text_epochs=16",
                "--text_learning_rate=1e-3",
                "--layer_decay=0.3",
                "--clip_norm=1",
            ),
        )
    return Choice(
        "Sentences of class names are few and short: the upper half of BERT learns what they mean.",
        ("--text_trainable=transformer_layer_3", "--text_epochs=16", "--text_learning_rate=5e-4"),
    )


def other_letters(texts: Sequence[str]) -> tuple[float, str]:
    """Returns the share of the letters that are not Latin, and the script that most of these are of."""
    scripts = Counter(
        unicodedata.name(character, "?").split()[0]
        for text in texts
        for character in text[:1000]
        if character.isalpha()
    )
    script = max(scripts, key=lambda name: (name != "LATIN", scripts[name]), default="LATIN")
    return 1 - scripts["LATIN"] / scripts.total() if scripts else 0.0, script


def choices_for_documents(data: "DocumentData") -> list[Choice]:
    """Returns what fits a set of documents: the encoder, the length, how it learns."""
    texts = [data.train.texts[index] for index in _sample_indices(len(data.train))]
    words = sorted(len(text.split()) for text in texts)[int(0.9 * len(texts))]
    encoder, length = _encoder_for(texts, words)
    counts = Counter(data.train.labels.tolist())
    fewest, most = min(counts.values()), max(counts.values())
    choices = [
        encoder,
        Choice(
            f"Nine of ten documents have up to {words:,} words; what is longer than this is cut.",
            (f"--sequence_length={length}",),
        ),
        Choice("Texts of similar length share a batch.", ("--text_batch_size=16", "--length_window=50")),
        Choice(
            "It stops when the validation loss rises.",
            (f"--text_epochs={8 if len(data.train) < 2000 else 4}", "--patience=2"),
        ),
        Choice(
            "The same encoder from random weights says what its own are worth, with all documents alone; "
            "--per_class=20,100,500,all also asks that with fewer, --nobaseline leaves it out.",
            ("--per_class=all",),
        ),
    ]
    if most > 10 * fewest:
        choices.append(
            Choice(
                f"The largest class has {most:,} examples, the smallest {fewest:,}: each counts the same.",
                ("--class_weights=balanced",),
            )
        )
    return [*choices, *_rare_classes(fewest)]


def _encoder_for(texts: Sequence[str], words: int) -> tuple[Choice, int]:
    """Returns the encoder that fits texts, of which nine of ten have so many words, and their length."""
    foreign_share, script = other_letters(texts)
    if foreign_share < 0.1:
        choice = Choice(
            "For English. Other languages in Latin letters: multilingual_e5_small, as in "
            "experiments/across_languages.cfg.",
            (
                "--text_encoder=minilm_l6",
                "--text_trainable=all",
                "--text_learning_rate=1e-4",
                "--layer_decay=0.9",
            ),
        )
        return choice, _sequence_length(PIECES * words)
    choice = Choice(
        f"{foreign_share:.0%} of the letters are not Latin (most of them {script.lower()}): an encoder of "
        "about 100 languages.",
        (
            "--text_encoder=multilingual_e5_small",
            "--text_trainable=transformer_layer_9",
            "--text_learning_rate=1e-3",
            "--layer_decay=0.3",
            "--clip_norm=1",
        ),
    )
    # Scripts without spaces have no words to count: a piece is one to two characters.
    return choice, _sequence_length(sorted(map(len, texts))[int(0.9 * len(texts))] / 1.5)


def _sample_indices(count: int) -> "np.ndarray":
    import numpy as np

    return np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False)


def _sequence_length(pieces: float) -> int:
    return next((length for length in SEQUENCES if length >= pieces), SEQUENCES[-1])


def _rare_classes(fewest: int) -> list[Choice]:
    if fewest > 1:
        return []
    return [Choice("There is a class with one example to learn from.", ("--min_per_class=1",))]


def name_of(path: Path) -> str:
    """Returns a name for what is made from a folder or a table: letters, digits, dots and dashes."""
    path = path.resolve()
    name = path.name if path.is_dir() else re.sub(rf"(\.({'|'.join(TABLES)}))?(\.gz)?$", "", path.name)
    return re.sub(r"[^\w.-]+", "-", printable(name)).strip(".-") or "data"


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.init", __doc__)
    parser.add_argument("path", type=Path, help="a folder, or a table")
    parser.add_argument("--output", type=Path, help="the flagfile; default NAME.cfg")
    help_texts = {
        name: option.help for group in (SplitConfig, DocumentConfig) for name, option in options_of(group)
    }
    for flag in DATA_FLAGS:
        parser.add_argument(f"--{flag}", help=help_texts[flag])
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    name = name_of(options.path)
    output = options.output or Path(f"{name}.cfg")
    # Somebody may have worked on a flagfile since it was written.
    target_of(output, NONE, overwrite=options.overwrite)
    _require_a_line(str(options.path))
    source, documents = source_of(options.path)
    given_flags = {flag: value for flag in DATA_FLAGS if (value := getattr(options, flag)) is not None}
    start_tensorflow("3")
    head, fixed_flags, choices = _examine_data(source, documents, name, given_flags)
    write_text(output, flagfile(str(output), head, fixed_flags, choices), NONE, overwrite=options.overwrite)
    command = f"python -m xmodal.run --flagfile={quote(str(output))}"
    log(f"{head}\n\nwritten: {output}\nnext:\n  {command}")


def _require_a_line(path: str) -> None:
    """Refuses a path that no line of a flagfile can hold."""
    if printable(path) != path or path != path.strip():
        raise UserError(
            f"{printable(path)!r} is not in UTF-8, ends in a blank or has several lines", "rename it"
        )


def _examine_data(
    source: str, documents: bool, name: str, given_flags: dict[str, str]
) -> tuple[str, list[str], list[Choice]]:
    from xmodal.runs.inputs import load_configured_documents, load_configured_media

    data: DocumentData | ImageData
    options: dict[str, Any] = {"min_per_class": 1, **given_flags}
    for flag, convert in (("min_per_class", int), ("class_names", lambda names: names.split(","))):
        if flag in given_flags:
            try:
                options[flag] = convert(given_flags[flag])
            except ValueError as error:
                raise UserError(f"--{flag}={given_flags[flag]} is no whole number", "give one") from error
    splits = SplitConfig(**{flag: options.pop(flag) for flag in SPLIT_FLAGS if flag in options})
    config = Config(run=RunConfig(offline=True), splits=splits)
    if documents:
        data = load_configured_documents(
            replace(config, documents=DocumentConfig(documents=source, **options))
        )
        choices, example_kind, flags = choices_for_documents(data), "documents", ("bert_news", "documents")
    else:
        if options:
            raise UserError(f"--{min(options)} is for texts, and {source!r} holds none", "leave it out")
        # Kinds of augmentation are for one kind of data.
        image = replace(config.image, augment=())
        data = load_configured_media(replace(config, data=DataConfig(dataset=source), image=image))
        example_kind, flags = (
            f"{data.train.medium.noun if data.train.medium else 'image'}s",
            ("vgg_to_bert", "dataset"),
        )
        is_grouped = bool(splits.group_column or splits.group_pattern)
        choices = (
            choices_for_sounds(data, is_grouped) if example_kind == "sounds" else choices_for_images(data)
        )
    for warning in data.report.warnings:
        log(f"warning: {printable(spell_as_flags(warning))}")
    counts = ", ".join(f"{len(getattr(data, split)):,} {split}" for split in ("train", "validation", "test"))
    head = f"{counts} {example_kind} of {len(data.class_names):,} classes"
    fixed_flags = [
        f"--experiment={flags[0]}",
        f"--{flags[1]}={source}",
        *(f"--{flag}={value}" for flag, value in given_flags.items()),
        f"--output_dir=runs/{name}",
        f"--saved_models_dir=saved_models/{name}",
    ]
    return head, fixed_flags, choices


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""Every flag with its help and its limits, and the frozen dataclasses made from them once.

Nothing outside this module reads absl's FLAGS, and nothing here needs TensorFlow.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from xmodal.config.attack import AttackConfig
from xmodal.config.config import Config
from xmodal.config.data import DataConfig, DocumentConfig, PairConfig
from xmodal.config.experiments import EXPERIMENTS, NOT_ATTACKED, SHRUNK
from xmodal.config.fusion import FUSIONS, FusionConfig
from xmodal.config.generator import SOLVERS, GeneratorConfig
from xmodal.config.image import AUGMENTATIONS, ImageConfig
from xmodal.config.run import BENCHES, SPEED_ROWS, STRATEGIES, RunConfig
from xmodal.config.scorer import DIRECTIONS, MOVES, WORD_VECTORS, ScorerConfig
from xmodal.config.text import CLASS_WEIGHTS, TEXT_HEADS, TEXT_STYLES, TextConfig
from xmodal.config.training import OPTIMIZERS, PRECISIONS, SCHEDULES, TracedSteps, TrainConfig
from xmodal.core.errors import UserError, nearest

# What another run of the same flagfile is not to do.
NOT_REPLAYED = ("bench", "rows", "peer_epochs", "overwrite", "restart", "record", "dry_run")
# The most of anything that is counted: with what is added to it, TensorFlow holds it in 32 bits.
MANY = 10**9
# The most that a batch holds, and the most units of a layer, vectors of words, and sides of images in pixels:
# above it is no machine that could.
MOST_IN_BATCH, MOST_UNITS, MOST_WORDS, MOST_SIDE = 10**6, 2**16, 10**7, 2**12


class _Choice(flags.ArgumentParser):
    """Parses one of a few words, and names the nearest one when it is none of them."""

    def __init__(self, choices: Sequence[str]):
        super().__init__()
        self.choices = choices
        self.syntactic_help = f"one of {', '.join(choices)}"

    def parse(self, argument: str) -> str:
        if argument not in self.choices:
            raise ValueError(nearest(argument, self.choices))
        return argument

    def flag_type(self) -> str:
        return "choice"


class _Number(flags.FloatParser):
    """Parses a finite number; NaN would pass any bounds."""

    def convert(self, argument):
        value = super().convert(argument)
        if not math.isfinite(value):
            raise ValueError("give a finite number")
        return value


class _Fraction(flags.FloatParser):
    """Parses a number strictly between 0 and 1."""

    syntactic_help = "a number between 0 and 1"

    def convert(self, argument):
        value = super().convert(argument)
        if not 0 < value < 1:
            raise ValueError("give a number between 0 and 1")
        return value


def _choice(name: str, default: str, choices: Sequence[str], help_: str) -> None:
    flags.DEFINE(_Choice(choices), name, default, help_, serializer=flags.ArgumentSerializer())


def _fraction(name: str, default: float, help_: str) -> None:
    flags.DEFINE(_Fraction(), name, default, help_, serializer=flags.ArgumentSerializer())


def _number(name: str, default: float, help_: str, upper: float | None = None) -> None:
    flags.DEFINE(_Number(0, upper), name, default, help_, serializer=flags.ArgumentSerializer())


def _count(name: str, default: int, help_: str, lower: int = 1, upper: int = MANY) -> None:
    flags.DEFINE_integer(name, default, help_, lower_bound=lower, upper_bound=upper)


# The run.
_choice("experiment", "vgg_to_bert", EXPERIMENTS, "The system to run.")
flags.DEFINE_string("output_dir", None, "Folder of the run's files; default runs/<experiment>.")
flags.DEFINE_string("saved_models_dir", "saved_models", "Exports go to <this>/<experiment>/<version>/.")
flags.DEFINE_bool("overwrite", False, "Replace the finished run that --output_dir holds.")
flags.DEFINE_bool("restart", False, "Drop what an unfinished run left in --output_dir, and begin anew.")
flags.DEFINE_bool(
    "dry_run",
    False,
    "Take a few steps of every loop, say how long the run would take and how much memory, and leave nothing.",
)
_number("checkpoint_seconds", 60.0, "Save a training when so many seconds have passed.")
_count("checkpoint_steps", 0, "Save a training also every so many steps; 0 goes by the seconds.", lower=0)
flags.DEFINE_bool(
    "deterministic", False, "Take only operations that give the same bits in every run; may be slower."
)
flags.DEFINE_bool("export", True, "Export a SavedModel and compare it in a fresh process.")
flags.DEFINE_bool(
    "small", False, "Make int8 and LiteRT forms of the export of bert_news or vgg_to_bert, and measure them."
)
_choice("bench", "speed", BENCHES, "What python -m xmodal.bench measures.")
flags.DEFINE_list("rows", list(SPEED_ROWS), f"What --bench=speed compares, any of {', '.join(SPEED_ROWS)}.")
_count(
    "peer_epochs",
    0,
    "Epochs that the plain Keras code of --rows=run takes; the time of the others is reckoned. 0 takes all.",
    lower=0,
)
flags.DEFINE_string("record", None, "JSON file for the run's figures, with flags, commit and hardware.")
_count("seed", 0, "Seed of splits, initial weights, orders and augmentation.", lower=0)
_choice("strategy", "auto", STRATEGIES, "tf.distribute strategy; auto takes every GPU that it finds.")
_count("virtual_devices", 1, "Split the CPU into this many devices, to run mirrored without GPUs.", upper=256)
flags.DEFINE_bool("offline", False, "Make no attempt to fetch anything.")
_number("feature_cache_gb", 10.0, "Most GB of kept features of frozen trunks; 0 keeps none.")

# Every training.
_choice("optimizer", "adamw", OPTIMIZERS, "Optimizer of every training; sgd has Nesterov momentum 0.9.")
_choice("schedule", "cosine", SCHEDULES, "How the rate falls after the warm-up.")
_number("warmup", 0.1, "Share of the steps in which the rate rises to its peak.", upper=0.9)
_number("weight_decay", 0.01, "Decoupled weight decay.")
_number("clip_norm", 0.0, "Largest norm of the whole gradient; 0 does not clip.")
_count(
    "accumulate", 1, "Pass each global batch through in so many parts, to save memory.", upper=MOST_IN_BATCH
)
_number("ema", 0.0, "Momentum of the average of weights that is kept; 0 keeps none.", upper=1.0)
_choice("precision", "float32", PRECISIONS, "What layers compute in; variables stay float32.")
_count(
    "steps_per_call",
    1,
    "Steps between two looks at signals and callbacks; with more than 1, waiting is not told.",
)
flags.DEFINE_string("data_service", "", "HOST:PORT of a tf.data service that reads what is trained on.")
flags.DEFINE_list(
    "profile_steps",
    [],
    "FIRST,LAST: steps of each training, from 1 on, that are traced for TensorBoard's profiler.",
)
_choice(
    "jit",
    "auto",
    ("auto", "on", "off"),
    "XLA: auto compiles the steps with GPUs, and the update of many weights in many steps of one device.",
)

# The data; the splits' flags count for images and documents.
flags.DEFINE_string(
    "dataset",
    "mnist_5k",
    "mnist_5k, folder:PATH, csv:PATH (columns image and label, or label:NAME with its shares) or tfds:NAME.",
)
flags.DEFINE_list("class_names", [], "Names of the classes in order, instead of the data's own.")
_count(
    "image_size", 32, "Side, in pixels, of the square that images are resized to.", lower=32, upper=MOST_SIDE
)
_fraction("validation_fraction", 0.1, "Share of the training examples held out to choose on.")
_fraction("test_fraction", 0.2, "Share held out for testing, where the data comes without a test split.")
flags.DEFINE_bool("keep_leaks", True, "Keep training examples that stand in the test split too.")
_choice("bad_images", "skip", ("skip", "fail"), "What to do with unreadable or truncated images.")
_count("min_per_class", 5, "Fewest training examples that a class may have.", lower=0)
_count(
    "limit", 0, "Use at most this many training examples (and test ones in proportion); 0 is all.", lower=0
)
_count(
    "train_examples",
    0,
    "Use at most this many training examples, those held out for validation among them; 0 is all.",
    lower=0,
)

# The documents.
flags.DEFINE_string(
    "documents",
    "reuters_r8",
    "20newsgroups, reuters_r8, reuters_r52, dir:PATH, csv:PATH, tsv:PATH, jsonl:PATH or tfds:NAME.",
)
flags.DEFINE_multi_string(
    "test_documents",
    [],
    "More documents of the same classes to test on, in another language perhaps: NAME=SOURCE; repeat.",
)
flags.DEFINE_string("text_column", "text", "Column, key or feature of a document's text; a,b joins two.")
flags.DEFINE_string(
    "label_column",
    "label",
    "Column, key or feature of a document's class; soft labels have columns LABEL:NAME with the shares.",
)
flags.DEFINE_string("split_column", "split", "Column or key of a document's split; a table may lack it.")
flags.DEFINE_string("encoding", "utf-8", "Encoding of the documents.")
flags.DEFINE_string(
    "fallback_encoding", None, "Encoding of files that are not in --encoding; without it they are an error."
)

_count(
    "baseline_words",
    30_000,
    "Most words that the TF-IDF baseline knows, the most frequent ones.",
    upper=MOST_WORDS,
)
flags.DEFINE_bool("scrub", True, "Put marks such as [EMAIL] in the place of personal data.")

# Pairs of an image and a text; the columns of documents count for them too.
flags.DEFINE_string(
    "pairs", "mnist_5k", "Pairs of images and texts: mnist_5k, csv:PATH, tsv:PATH or jsonl:PATH; .gz will do."
)
flags.DEFINE_string("image_column", "image", "Column or key of a pair's image: the path of a file.")
flags.DEFINE_string("image_folder", None, "Folder that these paths start in; default that of the table.")
_number("misread", 0.15, "Share of mnist_5k's digits that were read as one that looks alike.", upper=1.0)
_number("typing_slips", 0.05, "Share of the letters in their readings that were mistyped.", upper=1.0)

# The image classifier.
flags.DEFINE_string("base", "VGG16", "Keras Applications model that the weights come from.")
flags.DEFINE_string("target", "VGG19", "Keras Applications model that they are copied into.")
flags.DEFINE_string(
    "image_weights",
    "vgg16_imagenet",
    "Weights of the base: a named asset, imagenet (Keras Applications), a .weights.h5 file, or none.",
)
_choice("growth", "identity", ("identity", "random"), "How layers that are new in the target start.")
flags.DEFINE_list(
    "grow",
    ["block3_conv4", "block4_conv4", "block5_conv4"],
    "Patterns of target layers that the base does not have.",
)
flags.DEFINE_list("drop", [], "Patterns of base layers that have no place in the target.")
flags.DEFINE_string(
    "trainable",
    "head",
    "What to train: head, all, or a target layer prefix such as block5 (it and all after it).",
)
flags.DEFINE_list(
    "features", ["block3_pool", "block4_pool", "block5_pool"], "Layers whose pooled outputs the head reads."
)
flags.DEFINE_list("augment", ["shift", "rotate", "zoom"], f"Any of {', '.join(AUGMENTATIONS)}.")
_count("head_epochs", 20, "Epochs of the head on the kept outputs of a frozen trunk.")
_count("hidden", 0, "Units of the head's hidden layer; 0 makes it linear.", lower=0, upper=MOST_UNITS)
_number("dropout", 0.3, "Dropout in the image head.", upper=0.9)
_number("label_smoothing", 0.1, "Label smoothing of the image loss.", upper=0.9)
_number("head_learning_rate", 1e-3, "Peak rate of AdamW for the head.")
_count(
    "epochs",
    2,
    "Times that each training image is shown to the network; a frozen trunk's outputs are kept.",
)
_count(
    "validations_per_epoch",
    1,
    "Most equal parts of an epoch of the network after which the validation split is looked at; "
    "up to 5% of an epoch's batches may be left out so that they are equal.",
)
_number("learning_rate", 3e-4, "Peak rate of AdamW through the whole network.")
_count("batch_size", 64, "Global batch of images.", upper=MOST_IN_BATCH)
_count("patience", 5, "Epochs without a better validation loss before training stops.")
flags.DEFINE_bool(
    "mirror", False, "vgg_to_bert answers with the mean of an image's logits and its mirror image's."
)
flags.DEFINE_bool(
    "baseline", True, "Train the same from random weights too, to compare with what the transfer gives."
)
flags.DEFINE_list(
    "scratch_learning_rates",
    ["1e-4", "3e-4", "1e-3"],
    "Peak rates of the baseline that is trained from scratch: each is tried for one pass, and the one that "
    "is best on validation is taken.",
)

# The bridge.
_choice("text_style", "hedged", TEXT_STYLES, "How probabilities are put into words.")
flags.DEFINE_multi_string("template", ["a photo of {}"], "Sentence around the words; repeat for an ensemble.")
_count("top_k", 3, "Classes that --text_style=topk names.")

# The text head.
flags.DEFINE_string(
    "text_encoder", "minilm_l6", "BERT encoder: a named asset, a KerasHub preset, hf://..., or a folder."
)
_choice(
    "text_head", "finetune", TEXT_HEADS, "finetune trains a head and the encoder; zero_shot trains nothing."
)
flags.DEFINE_string("target_map", None, "CSV with the columns description,target: the question to answer.")
flags.DEFINE_multi_string(
    "also_ask",
    [],
    "A further question, answered from the same sentences: NAME=FILE, a CSV like --target_map's; repeat.",
)
_count("sequence_length", 32, "Most tokens of a text that BERT reads.", lower=8, upper=MOST_UNITS)
_count("text_epochs", 6, "Epochs of the text head over the distinct sentences.")
_count("text_batch_size", 32, "Distinct sentences in a batch.", upper=MOST_IN_BATCH)
flags.DEFINE_string(
    "text_trainable",
    "all",
    "What to train: head, all, or a layer of the encoder such as transformer_layer_3 (it and all after it).",
)
_count(
    "text_head_epochs",
    0,
    "Epochs of a new head on what the frozen encoder gives, before the encoder learns with it.",
    lower=0,
)
_number("layer_decay", 1.0, "What each layer's rate is of that of the layer above it.", upper=1.0)
_choice("class_weights", "none", CLASS_WEIGHTS, "balanced weighs a document by how rare its class is.")
_count("length_window", 1, "Batches whose texts are sorted by length together; 1 leaves the order random.")
_number("text_learning_rate", 2e-4, "Peak rate of AdamW for the text head.")
_count("text_examples", 30, "Sentences of each class written for the head that is trained on text alone.")
_number("similarity_scale", 20.0, "Scale of the cosine in scores; where it is learned, at the start.")

# One scorer for images and documents.
flags.DEFINE_list(
    "per_class",
    ["20", "100", "500", "all"],
    "Training examples a class that transfer is measured with; all is always among them.",
)
_count("seeds", 3, "Seeds that each training is repeated with: --seed and those after it.")
_choice("move", "scorer", MOVES, "What moves between the modalities; upper is the scorer and a layer below.")
flags.DEFINE_list(
    "directions", list(DIRECTIONS), "Where the scorer moves: any of the two; none trains each modality alone."
)
flags.DEFINE_bool("freeze_moved", False, "Leave what moved as it is, instead of training it on.")
_count("unseen", 3, "Classes that are left out of training, to be told by their names alone.", lower=0)
_count("seen_per_class", 100, "Training examples of each other class in that measurement.")
flags.DEFINE_string(
    "class_descriptions",
    None,
    "CSV with the columns name,description: what the documents' classes are about.",
)
_count("vocabulary", 30_000, "Most words of the documents that have a vector of their own.", upper=MOST_WORDS)
_choice("word_vectors", "bert", WORD_VECTORS, "How these start: from BERT's word pieces, or at random.")
_count("units", 256, "Units of each LSTM in each direction.", upper=MOST_UNITS)
_number("text_dropout", 0.5, "Dropout between the layers of the LSTMs.", upper=0.9)

# Image and text together.
flags.DEFINE_list("fusion", list(FUSIONS), f"How they are read together: any of {', '.join(FUSIONS)}.")
flags.DEFINE_string(
    "region_layer", "block4_pool", "Layer of the trunk whose map has the regions that attention looks at."
)
_count(
    "fusion_units",
    256,
    "Units of each hidden layer on the encoders; a multiple of 4.",
    lower=4,
    upper=MOST_UNITS,
)
_count("fusion_epochs", 20, "Epochs of each way to read them together, and of each side alone.")
_number("fusion_learning_rate", 1e-3, "Its peak rate.")
_number(
    "modality_dropout",
    0.5,
    "Share of the pairs that lose their image or their text, either as often, in an epoch.",
    upper=1.0,
)

# Text to images.
_count("space_width", 128, "Numbers of a vector in the space that images and texts share.", upper=MOST_UNITS)
flags.DEFINE_string(
    "image_generator",
    "flow",
    "What draws pictures: flow (trained in the run) or preset:NAME, a text-to-image model of keras-nlp.",
)
flags.DEFINE_list(
    "generator_widths", ["32", "64", "128"], "Channels of the U-Net's levels, each half as fine as the last."
)
_count(
    "generator_patch",
    2,
    "Side, in pixels, of the squares that the U-Net's first level sees as one.",
    upper=MOST_SIDE,
)
_count("generator_epochs", 100, "Times that the generator sees each training image.")
_count("generator_batch_size", 128, "Global batch of the generator.", upper=MOST_IN_BATCH)
_number("generator_learning_rate", 1e-3, "Peak rate of AdamW for the generator.")
flags.DEFINE_list(
    "generator_augment", [], f"What the generator learns from, any of {', '.join(AUGMENTATIONS)}."
)
_number("generator_ema", 0.995, "Momentum of the average of weights that the generator ends with.", upper=1.0)
_number("unconditional", 0.1, "Share of the images that the generator is told nothing about.", upper=0.9)
_number("guidance", 2.0, "How far pictures go past what a text asks; 1 goes just there.")
_count("sampling_steps", 20, "Steps from noise to picture.")
_choice("solver", "euler", SOLVERS, "How a step is taken; heun looks twice.")
_count(
    "drawn", 1000, "Pictures that are drawn to be measured, of learned wordings and as many of unseen ones."
)

# How hard it is to fool.
_count("attacked_examples", 0, "Test examples that are attacked; 0 attacks none.", lower=0)
flags.DEFINE_bool(
    "robust",
    False,
    "Train on examples like the attacks' too (slips of the keyboard; FGSM), beside a training without them; "
    "the robust model is the one that is exported.",
)
flags.DEFINE_list("slips", ["0.02", "0.05", "0.1"], "Shares of the letters that typing noise falls on.")
flags.DEFINE_list("changed_words", ["0.05", "0.1", "0.2"], "Most shares of the words that an attack changes.")
flags.DEFINE_list("pixel_budgets", ["2", "8"], "Most that an attack changes a pixel by, of 255.")
_count("attack_steps", 10, "Steps of PGD.")


def parse(argv: Sequence[str]) -> list[str]:
    """Parses a command line into the flags.

    Args:
        argv: the program's name, then its arguments.

    Returns:
        The arguments that are no flags, without the program's name.

    Raises:
        UserError: for an unknown flag or a value that is not valid.
    """
    try:
        return flags.FLAGS(list(argv))[1:]
    except UnicodeDecodeError as error:
        files = " ".join(word for word in argv if word.lstrip("-").startswith("flagfile"))
        raise UserError(f"{files} is not in UTF-8 ({error})", "save it in UTF-8") from error
    except (flags.Error, ValueError) as error:
        problem = str(error).removeprefix("ERROR:: ").rstrip(" .")
        raise UserError(problem, "`--help` lists every flag") from error


def help_text() -> str:
    """Returns the help of every flag of the project."""
    return flags.FLAGS.module_help(__name__)


def flag_names() -> list[str]:
    """Returns the names of the project's flags."""
    return [flag.name for flag in _own_flags()]


def from_flags() -> Config:
    """Makes the dataclasses from the parsed flags.

    Raises:
        UserError: when flags do not fit together.
    """
    values = {flag.name: _plain(flag.value) for flag in _own_flags()}
    _require_replay(values)
    for name, choices in (
        ("augment", AUGMENTATIONS),
        ("generator_augment", AUGMENTATIONS),
        ("fusion", FUSIONS),
        ("rows", SPEED_ROWS),
    ):
        unknown = [word for word in values[name] if word not in choices]
        if unknown:
            raise UserError(f"--{name}={unknown[0]} is not known", nearest(unknown[0], choices))
    _require_fusion(values)
    values["generator_widths"] = _widths(values["generator_widths"])
    _require_generator(values["image_generator"])
    _require_named(values, "test_documents", "swahili=tsv:data/swahili")
    _require_named(values, "also_ask", "can_fly=can_fly.csv")
    values["directions"] = tuple(map(_direction, values["directions"]))
    values["per_class"] = tuple(map(_examples, values["per_class"]))
    for name, most in (
        ("slips", 1),
        ("changed_words", 1),
        ("pixel_budgets", 255),
        ("scratch_learning_rates", 1),
    ):
        values[name] = _rising(name, values[name], most)
    if values["data_service"] and values["deterministic"]:
        raise UserError(
            f"--data_service={values['data_service']} brings batches in no fixed order",
            "leave it or --deterministic out",
        )
    if values["small"]:
        _require_float32_export(values)
    if values["experiment"] in NOT_ATTACKED and (values["robust"] or values["attacked_examples"]):
        raise UserError(
            f"--experiment={values['experiment']} is not attacked",
            "leave out --robust and --attacked_examples",
        )
    if values["output_dir"] is None:
        values["output_dir"] = str(Path("runs") / values["experiment"])
    values["profile_steps"] = _traced(values["profile_steps"], Path(values["output_dir"]))
    for name in (
        "output_dir",
        "saved_models_dir",
        "record",
        "target_map",
        "class_descriptions",
        "image_folder",
    ):
        values[name] = None if values[name] is None else Path(values[name])

    def make(cls):
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    return Config(
        run=make(RunConfig),
        train=make(TrainConfig),
        data=make(DataConfig),
        documents=make(DocumentConfig),
        pairs=make(PairConfig),
        image=make(ImageConfig),
        text=make(TextConfig),
        scorer=make(ScorerConfig),
        fusion=make(FusionConfig),
        generator=make(GeneratorConfig),
        attack=make(AttackConfig),
        flagfile=_flagfile(),
    )


def _require_replay(values: dict[str, Any]) -> None:
    """Refuses what a line of a flagfile cannot hold, and no file can be called."""
    for name, value in values.items():
        for word in value if isinstance(value, tuple) else (value,):
            if isinstance(word, str) and not _is_a_line(word):
                raise UserError(
                    f"--{name}={word!r} ends in a blank, has several lines or NUL, or is not UTF-8",
                    "write it so that config.cfg can hold it",
                )


def _is_a_line(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return word == word.rstrip() and len(word.splitlines()) < 2 and "\0" not in word


def _require_float32_export(values: dict[str, Any]) -> None:
    if values["experiment"] not in SHRUNK:
        raise UserError(
            f"--small is of no use to --experiment={values['experiment']}",
            f"add --nosmall; it is for {' and '.join(SHRUNK)}",
        )
    if not values["export"]:
        raise UserError(
            "--small makes small forms of the export, and --noexport makes none",
            "add --nosmall, or leave out --noexport",
        )
    if values["precision"] != "float32":
        raise UserError(
            f"--small makes small forms of float32, and --precision={values['precision']} is another one",
            "add --nosmall, or leave out --precision",
        )


def _require_fusion(values: dict[str, Any]) -> None:
    kinds = values["fusion"]
    if not kinds or len(set(kinds)) < len(kinds):
        raise UserError(
            f"--fusion={','.join(kinds)} names no way, or one of them twice",
            f"name any of {', '.join(FUSIONS)}",
        )
    if values["fusion_units"] % 4:
        raise UserError(
            f"--fusion_units={values['fusion_units']} is no multiple of 4", "attention has 4 heads: give one"
        )


def _require_named(values: dict[str, Any], flag: str, such_as: str) -> None:
    names = [item.partition("=")[0] for item in values[flag]]
    for name, item in zip(names, values[flag], strict=True):
        if not name.isidentifier() or not item.partition("=")[2]:
            raise UserError(f"--{flag}={item} has no name", f"write NAME=WHERE, such as {such_as}")
        if names.count(name) > 1:
            raise UserError(f"--{flag} names {name!r} twice", "give each a name of its own")


def _own_flags() -> list[flags.Flag]:
    return flags.FLAGS.flags_by_module_dict()[__name__]


def _examples(count: str) -> int:
    if count != "all" and not _whole(count):
        raise UserError(
            f"--per_class={count} is no number of examples", "give whole numbers from 1 on, or all"
        )
    return 0 if count == "all" else _whole(count)


def _widths(words: Sequence[str]) -> tuple[int, ...]:
    widths = tuple(map(_whole, words))
    if not widths or not all(0 < width <= MOST_UNITS for width in widths):
        raise UserError(
            f"--generator_widths={','.join(words)} are no channels", "give whole numbers, such as 32,64,128"
        )
    return widths


def _whole(word: str) -> int:
    """Returns a whole number of a length that there is use for, 0 for anything else."""
    return int(word) if word.isdecimal() and len(word) <= len(str(MANY)) else 0


def _require_generator(value: str) -> None:
    kind, _, name = value.partition(":")
    if value != "flow" and not (kind == "preset" and name):
        raise UserError(f"--image_generator={value} is not known", "write flow or preset:NAME")


def _rising(name: str, words: Sequence[str], most: int) -> tuple[float, ...]:
    """Reads numbers above 0 and up to `most`, and sorts them."""
    for word in words:
        try:
            fits = 0 < float(word) <= most
        except ValueError:
            fits = False
        if not fits:
            raise UserError(f"--{name}={word} is no number above 0 and up to {most}", "give such numbers")
    if not words:
        raise UserError(f"--{name}= is empty", f"give numbers above 0 and up to {most}")
    return tuple(sorted({float(word) for word in words}))


def _traced(words: Sequence[str], output_dir: Path) -> TracedSteps | None:
    numbers = [_whole(word) for word in words]
    if not words:
        return None
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise UserError(f"--profile_steps={','.join(words)} are no steps", "give two numbers, such as 10,15")
    return TracedSteps(numbers[0], numbers[1], output_dir / "tensorboard" / "profile")


def _direction(words: str) -> tuple[str, str]:
    if words not in DIRECTIONS:
        raise UserError(f"--directions={words} is not known", nearest(words, DIRECTIONS))
    source, _, target = words.partition("_to_")
    return source, target


def _plain(value):
    return tuple(value) if isinstance(value, list) else value


def _flagfile() -> str:
    lines = []
    for flag in sorted(_own_flags(), key=lambda flag: flag.name):
        if flag.value is not None and flag.name not in NOT_REPLAYED:
            lines.append(flag.serialize())
    return "\n".join(lines) + "\n"

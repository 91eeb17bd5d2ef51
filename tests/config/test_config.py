"""Flags, the dataclasses made from them, and the flagfile that says them again."""

import ast
import dataclasses
import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from absl import flags
from absl.testing import flagsaver

from xmodal.config import fields
from xmodal.config import flags as config_flags
from xmodal.config.attack import AttackConfig
from xmodal.config.config import GROUPS, Config
from xmodal.config.fusion import FusionConfig
from xmodal.config.image import ImageConfig
from xmodal.config.run import RunConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.text import TextConfig
from xmodal.config.training import TrainConfig
from xmodal.core import errors
from xmodal.core.errors import UserError, nearest, with_flags
from xmodal.core.files import cache_folder

ROOT = Path(__file__).parents[2]
FLAGS = {flag.name: flag for flag in flags.FLAGS.flags_by_module_dict()[config_flags.__name__]}
RESOLVED = json.loads(Path(__file__).with_name("resolved_flags.json").read_text())


def parsed(*arguments: str) -> Config:
    """Parses a command line, and leaves the flags as they were."""
    with flagsaver.flagsaver():
        assert config_flags.parse(["run", *arguments]) == []
        return config_flags.from_flags()


def replayed(settings: Config, folder: Path) -> Config:
    path = folder / "config.cfg"
    path.write_text(settings.flagfile, encoding="utf-8")
    return parsed(f"--flagfile={path}")


# Every flag.


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_says_what_it_does(name):
    # absl adds to the help of a flag that may be repeated.
    assert FLAGS[name].help.split(";\n")[0].endswith(".")
    assert name in config_flags.help_text()


def test_a_flag_is_an_option_of_one_group_and_an_option_is_a_flag():
    assert sorted(config_flags.flag_names()) == sorted(FLAGS)


@pytest.mark.parametrize("group", GROUPS.values())
def test_a_default_is_of_the_type_of_its_field(group):
    made = group()
    for name, expected in get_type_hints(group).items():
        assert _is_a(getattr(made, name), expected), name


def _is_a(value, expected) -> bool:
    """Tells whether a value is of an annotated type."""
    arguments = get_args(expected)
    if get_origin(expected) is tuple:
        return isinstance(value, tuple) and all(_is_a(one, arguments[0]) for one in value)
    if get_origin(expected) is Literal:
        return value in arguments
    return any(_is_a(value, one) for one in arguments) if arguments else type(value) in _classes(expected)


def _classes(expected) -> tuple[type, ...]:
    return (type(Path()),) if expected is Path else (expected,)


def test_without_arguments_all_settings_are_those_of_no_flags():
    settings = parsed()
    for name, group in GROUPS.items():
        assert dataclasses.replace(getattr(settings, name), **FOLDERS.get(name, {})) == group()
    assert dataclasses.replace(Config(), train=settings.train, flagfile=settings.flagfile) == settings


# Where a run's traces go is told by its folder.
FOLDERS = {"train": {"profile_folder": TrainConfig().profile_folder}}


def test_a_field_is_read_by_the_program():
    # One of the name in another module: `config.text.top_k`, `settings.run.overwrite`.
    read = {
        node.attr
        for path in (ROOT / "xmodal").rglob("*.py")
        if path.parent.name != "config"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert set(FLAGS) - read == set()


def test_defaults():
    settings = parsed()
    assert settings.run.output_dir == Path("runs/vgg_to_bert")
    assert settings.run.saved_models_dir == Path("saved_models")
    assert settings.splits.class_names == ()
    assert settings.image.grow == ("*",)
    assert settings.text.template == ("a photo of {}",)
    assert settings.text.target_map is None


def test_the_dataclasses_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed().run.seed = 1


# Shipped flagfiles.


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "experiments").glob("*.cfg")))
def test_a_shipped_flagfile_means_what_it_did(name, monkeypatch):
    """A change that is meant is written into resolved_flags.json; new flags are no concern of this test."""
    monkeypatch.chdir(ROOT)
    changed = RESOLVED[name]
    expected = sorted({*RESOLVED["defaults"], *changed["+"]} - set(changed["-"]))
    known = {_flag_of(line) for line in expected} | {_flag_of(line) for line in RESOLVED["defaults"]}
    lines = parsed(f"--flagfile=experiments/{name}.cfg").flagfile.splitlines()
    assert sorted(line for line in lines if _flag_of(line) in known) == expected


def _flag_of(line: str) -> str:
    name = line.removeprefix("--").partition("=")[0]
    return name if name in FLAGS else name.removeprefix("no")


# The flagfile.

COMMAND_LINES = [
    [],
    ["--noexport", "--offline", "--nokeep_leaks"],
    ["--augment=", "--grow=", "--class_names="],
    ["--augment=flip", "--features=block1_pool,block5_pool", "--drop=block?_conv4,fc*"],
    ["--template=a photo of {}, taken at night", "--template={}", "--template=# {} -- \"x\" 'y' = z"],
    ['--class_names=cat,"dog, wild","5"" disk",señal,犬', "--target_map=some where/é.csv"],
    ["--output_dir=my runs/a=b", "--saved_models_dir=/tmp/--x"],
    ["--test_documents=swahili=tsv:data/swh", "--test_documents=thai=dir:a=b"],
    ["--also_ask=flies=a=b.csv", "--also_ask=swims=c.csv"],
    ["--learning_rate=1e-05", "--dropout=0", "--validation_fraction=0.123456789", "--similarity_scale=7"],
    ["--seed=123456789", "--limit=7", "--text_style=topk", "--strategy=mirrored"],
]


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=" ".join)
def test_the_flagfile_says_the_same_again(tmp_path, arguments):
    settings = parsed(*arguments)
    assert replayed(settings, tmp_path) == settings


def test_the_flagfile_gives_every_flag_but_what_a_replay_must_not_repeat():
    lines = parsed(
        "--noexport",
        "--target_map=a.csv",
        "--output_dir=b",
        "--record=c.json",
        "--fallback_encoding=latin-1",
        "--test_documents=d=tsv:e.tsv",
        "--also_ask=f=g.csv",
        "--class_descriptions=d.csv",
        "--image_folder=photos",
        "--speaker_names=names.txt",
        "--concept_weights=weights.csv",
    ).flagfile.splitlines()
    told = {line.removeprefix("--").partition("=")[0] for line in lines}
    unsaid = {name for name in FLAGS if not {name, f"no{name}"} & told}
    assert unsaid == {"bench", "rows", "model", "outside", "peer_epochs"} | {
        *("overwrite", "restart", "record", "dry_run")
    }
    assert {"noexport", "keep_leaks", "nooffline"} <= told


def test_a_replay_does_not_overwrite_by_itself(tmp_path):
    settings = parsed("--overwrite", "--record=kept.json").run
    assert (settings.overwrite, settings.record) == (True, Path("kept.json"))
    again = replayed(parsed("--overwrite", "--record=kept.json"), tmp_path).run
    assert (again.overwrite, again.record) == (False, None)


def test_flags_after_a_flagfile_win(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text("# A comment.\n\n--seed=3\n--epochs=4\n--template=one {}\n")
    settings = parsed(f"--flagfile={path}", "--seed=5")
    assert (settings.run.seed, settings.image.epochs, settings.text.template) == (5, 4, ("one {}",))


WHITE = (" ", "\t", "\n", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u3000")


@pytest.mark.parametrize("name", ["template", "output_dir", "dataset", "class_names"])
@pytest.mark.parametrize(
    "value", [*(f"a {{}}{white}" for white in WHITE), "a\n{}", "\na", "a\u2028b", "a\0b", "caf\udce9"]
)
def test_what_config_cfg_cannot_hold_is_refused(name, value):
    # Blanks around the items of a list are none of their own.
    given = f'"{value}"' if name == "class_names" and value.split() != [value] else value
    if name == "class_names" and value.strip().isprintable():
        assert parsed(f"--{name}={given}").splits.class_names == (value.strip(),)
        return
    told = f"--{name}={value!r} ends in a blank, has several lines or NUL, or is not UTF-8"
    with pytest.raises(UserError, match=re.escape(told)):
        parsed(f"--{name}={given}")


@pytest.mark.parametrize("value", [" a", "a  b", "", "'", '"', "#a", "--seed=1", "a=b", "a\\n", "é 犬"])
def test_the_flagfile_holds_any_other_value(tmp_path, value):
    settings = parsed(f"--template={value}", f"--text_column={value}")
    again = replayed(settings, tmp_path)
    # An empty template takes back those before it.
    template = (value or TextConfig().template[0],)
    assert (again.text.template, again.documents.text_column) == (template, value)


def test_a_flagfile_in_another_encoding(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_bytes("--seed=3\n--template=café {}\n".encode("latin-1"))
    with pytest.raises(UserError, match=f"--flagfile={path} is not in UTF-8 .*; save it in UTF-8"):
        parsed(f"--flagfile={path}")


# What the user can fix.


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--exprt", "Unknown command line flag 'exprt'. Did you mean: experiment, explained, export"),
        ("--zzz=3", "Unknown command line flag 'zzz'; `--help` lists every flag"),
        ("--text_style=hedgd", "flag --text_style=hedgd: did you mean 'hedged'?"),
        ("--experiment=vgg_to_brt", "flag --experiment=vgg_to_brt: did you mean 'vgg_to_bert'?"),
        (
            "--strategy=horovod",
            "flag --strategy=horovod: choose one of auto, mirrored, multi_worker, one_device",
        ),
        ("--growth=", "flag --growth=: choose one of identity, random"),
        ("--bad_images=Skip", "flag --bad_images=Skip: did you mean 'skip'?"),
        ("--epochs=0", "flag --epochs=0: 0 is not an integer in the range [1, 1000000000]"),
        ("--batch_size=-1", "flag --batch_size=-1: -1 is not an integer in the range [1, 1000000]"),
        ("--head_epochs=0", "--head_epochs=0 trains no head; give an integer from 1 on"),
        ("--epochs=three", "flag --epochs=three: invalid literal for int() with base 10: 'three'"),
        ("--seed=-1", "flag --seed=-1: -1 is not an integer in the range [0, 1000000000]"),
        ("--image_size=31", "flag --image_size=31: 31 is not an integer in the range [32, 4096]"),
        ("--sequence_length=7", "flag --sequence_length=7: 7 is not an integer in the range [8, 65536]"),
        ("--validation_fraction=1", "flag --validation_fraction=1: give a number between 0 and 1"),
        ("--test_fraction=0", "--test_fraction=0 holds nothing out; give a number between 0 and 1"),
        ("--test_fraction=nan", "flag --test_fraction=nan: give a number between 0 and 1"),
        ("--dropout=0.95", "flag --dropout=0.95: 0.95 is not a number in the range [0, 0.9]"),
        ("--label_smoothing=-0.1", "flag --label_smoothing=-0.1: -0.1 is not a number in the range [0, 0.9]"),
        ("--learning_rate=-1", "flag --learning_rate=-1: -1.0 is not a non-negative number"),
        ("--learning_rate=nan", "flag --learning_rate=nan: give a finite number"),
        ("--text_learning_rate=inf", "flag --text_learning_rate=inf: give a finite number"),
        ("--dropout=nan", "flag --dropout=nan: give a finite number"),
        *(
            (f"--{name}={value}", f"flag --{name}={value}: give a finite number")
            for name in (
                "weight_decay",
                "clip_norm",
                "warmup",
                "ema",
                "checkpoint_seconds",
                "feature_cache_gb",
            )
            for value in ("nan", "inf", "-inf", "1e400")
        ),
        (
            "--seed=4294967296",
            "flag --seed=4294967296: 4294967296 is not an integer in the range [0, 1000000000]",
        ),
        (
            "--virtual_devices=100000",
            "flag --virtual_devices=100000: 100000 is not an integer in the range [1, 256]",
        ),
        (
            "--batch_size=9999999999",
            "flag --batch_size=9999999999: 9999999999 is not an integer in the range [1, 1000000]",
        ),
        ("--hidden=1000000", "flag --hidden=1000000: 1000000 is not an integer in the range [0, 65536]"),
        *(
            (f"--{name}={5000 * '9'}", f"--{name}=999")
            for name in ("per_class", "generator_widths", "profile_steps", "slips")
        ),
        (f"--seed={5000 * '9'}", "flag --seed=999"),
        ("--nobaseline=1", "--nobaseline=1 does not take an argument"),
        ("--flagfile=a\0b", "embedded null byte"),
        (f"--flagfile={300 * 'x'}", f"--flagfile={300 * 'x'} cannot be read (File name too long)"),
        (
            "--generator_widths=32,100000",
            "--generator_widths=100000 does not fit; give an integer in the range",
        ),
        ("--similarity_scale=big", "flag --similarity_scale=big: could not convert string to float: 'big'"),
        ("--offline=maybe", "flag --offline=maybe: ('Non-boolean argument to boolean flag', 'maybe')"),
        ("--top_k", "Missing value for flag --top_k"),
        ("--flagfile=nowhere.cfg", "--flagfile=nowhere.cfg cannot be read (No such file or directory"),
    ],
)
def test_an_error_names_the_flag_its_value_and_the_remedy(argument, text):
    with pytest.raises(UserError) as caught:
        parsed(argument)
    assert str(caught.value).startswith(text)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flag", ["test_documents", "also_ask"])
@pytest.mark.parametrize("item", ["tsv:data/swahili", "=tsv:data/swahili", "swahili=", "south africa=dir:za"])
def test_what_needs_a_name_and_has_none(flag, item):
    with pytest.raises(UserError, match=f"--{flag}={item} has no name; write NAME=WHERE, such as"):
        parsed(f"--{flag}={item}")


def test_an_empty_one_takes_back_what_a_flagfile_gives(tmp_path):
    (tmp_path / "asked.cfg").write_text(
        "--also_ask=flies=a.csv\n--also_ask=swims=b.csv\n--template={} by night\n"
    )
    given = f"--flagfile={tmp_path / 'asked.cfg'}"
    assert parsed(given).text.also_ask == ("flies=a.csv", "swims=b.csv")
    assert parsed(given, "--also_ask=").text.also_ask == ()
    again = parsed(given, "--also_ask=", "--also_ask=runs=c.csv", "--template=", "--template={}").text
    assert (again.also_ask, again.template) == (("runs=c.csv",), ("{}",))


def test_two_test_sets_of_one_name():
    given = ["--test_documents=zh=tsv:simplified", "--test_documents=zh=tsv:traditional"]
    with pytest.raises(UserError, match="--test_documents names 'zh' twice; give each a name of its own"):
        parsed(*given)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--noexport"], "--{} makes other forms of the export, and --noexport makes none; add --no{}"),
        (
            ["--precision=mixed_bfloat16"],
            "--{} makes other forms of float32, and --precision=mixed_bfloat16",
        ),
    ],
)
@pytest.mark.parametrize("form", ["small", "portable"])
def test_other_forms_of_nothing(form, flags, told):
    with pytest.raises(UserError, match=told.format(form, form)):
        parsed(f"--{form}", *flags)
    parsed(f"--no{form}", *flags)


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        (
            "--generator_widths=32,0",
            "--generator_widths=0 does not fit; give an integer in the range [1, 65536]",
        ),
        ("--generator_widths=", "--generator_widths= is empty; give an integer in the range [1, 65536]"),
        ("--generator_augment=flop", "--generator_augment=flop is not known; did you mean 'flip'?"),
        ("--image_generator=gan", "--image_generator=gan is not known; write flow or preset:NAME"),
        ("--image_generator=preset:", "--image_generator=preset: is not known; write flow or preset:NAME"),
    ],
)
def test_what_draws_pictures_in_no_way_that_there_is(flag, problem):
    with pytest.raises(UserError) as caught:
        parsed(flag)
    assert str(caught.value) == problem


def test_an_unknown_augmentation():
    with pytest.raises(UserError, match=r"--augment=rotat is not known; did you mean 'rotate'\?"):
        parsed("--augment=flip,rotat")


def test_words_that_are_no_flags_are_given_back():
    with flagsaver.flagsaver():
        assert config_flags.parse(["run", "one", "--seed=3", "two"]) == ["one", "two"]


def test_an_error_is_one_line():
    error = UserError("a file\nwith two  lines", "fix\nit")
    assert str(error) == "a file with two lines; fix it"
    assert (error.problem, error.remedy) == ("a file\nwith two  lines", "fix\nit")


def test_the_nearest_choice_or_all_of_them():
    assert nearest("vgg16", ["VGG19", "vgg_16"]) == "did you mean 'vgg_16'?"
    assert nearest("x", {"b": 1, "a": 2}) == "choose one of a, b"


# The cache, and what is not imported.


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XMODAL_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("XMODAL_HOME", "")
    assert cache_folder() == Path.home() / ".cache" / "xmodal"


def test_flags_need_no_tensorflow():
    script = (
        "import sys; from xmodal.config import flags; flags.parse(['x', '--seed=3']); "
        "print(flags.from_flags().run.seed, sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "3 []\n", done.stderr


# One scorer for images and documents.


def test_amounts_of_examples_and_directions():
    settings = parsed("--per_class=20,all", "--directions=documents_to_images").scorer
    assert settings.per_class == (20, 0)
    assert settings.directions == (("documents", "images"),)
    assert parsed("--directions=").scorer.directions == ()


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        (
            "--per_class=20,few",
            "--per_class=few does not fit; give whole numbers from 1 on, or all",
        ),
        ("--per_class=0", "--per_class=0 does not fit; give whole numbers from 1 on, or all"),
        (
            "--directions=image_to_documents",
            "--directions=image_to_documents is not known; did you mean 'images_to_documents'?",
        ),
    ],
)
def test_amounts_and_directions_that_are_none(flag, problem):
    with pytest.raises(UserError) as caught:
        parsed(flag)
    assert str(caught.value) == problem


def test_budgets_of_attacks():
    settings = parsed("--slips=0.1,0.02", "--pixel_budgets=8", "--changed_words=1").attack
    assert settings.slips == (0.02, 0.1)
    assert settings.pixel_budgets == (8.0,)
    assert settings.changed_words == (1.0,)


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--slips=0.1,few", "--slips=few does not fit; give a number above 0 and up to 1"),
        ("--changed_words=20", "--changed_words=20 does not fit; give a number above 0 and up to 1"),
        ("--pixel_budgets=nan", "--pixel_budgets=nan does not fit; give a number above 0 and up to 255"),
        ("--pixel_budgets=", "--pixel_budgets= is empty; give a number above 0 and up to 255"),
    ],
)
def test_budgets_of_attacks_that_are_none(flag, problem):
    with pytest.raises(UserError) as caught:
        parsed(flag)
    assert str(caught.value) == problem


# In a notebook.


@pytest.mark.parametrize(
    ("group", "values", "told"),
    [
        (TrainConfig, {"dropout": 2}, "`dropout=2` does not fit; give a number in the range [0, 0.9]"),
        (ImageConfig, {"epochs": 2.5}, "`epochs=2.5` does not fit; give an integer in the range"),
        (ImageConfig, {"epochs": "2"}, "`epochs=2` does not fit; give an integer in the range"),
        (ImageConfig, {"mirror": "yes"}, "`mirror=yes` does not fit; give True or False"),
        (ImageConfig, {"growth": "none"}, "`growth=none` is not known; choose one of identity, random"),
        (ImageConfig, {"augment": ("flop",)}, "`augment=flop` is not known; did you mean 'flip'?"),
        (ImageConfig, {"features": "pool"}, "`features=pool` is one word; give several, such as ('pool',)"),
        (TrainConfig, {"profile_steps": (5, 2)}, "`profile_steps=5,2` are no steps; give two numbers"),
        (TrainConfig, {"weight_decay": float("nan")}, "`weight_decay=nan` does not fit; give a non-negative"),
        (AttackConfig, {"slips": (1.5,)}, "`slips=1.5` does not fit; give a number above 0 and up to 1"),
        (FusionConfig, {"fusion_units": 6}, "`fusion_units=6` is no multiple of 4; attention has 4 heads"),
        (ScorerConfig, {"per_class": (-1,)}, "`per_class=-1` does not fit; give whole numbers from 1 on"),
        (TextConfig, {"also_ask": ("a.csv",)}, "`also_ask=a.csv` has no name; write NAME=WHERE"),
        (RunConfig, {"experiment": "fusoin"}, "`experiment=fusoin` is not known; did you mean 'fusion'?"),
    ],
)
def test_a_group_speaks_of_the_value(group, values, told):
    with pytest.raises(UserError) as caught:
        group(**values)
    assert str(caught.value).startswith(told)


def test_words_in_a_group_are_parsed_as_in_a_flagfile():
    assert ScorerConfig(per_class=[5, "all"]).per_class == (5, 0)
    assert TextConfig(target_map="a.csv").target_map == Path("a.csv")
    assert AttackConfig(slips=["0.1", 0.05, 0.1]).slips == (0.05, 0.1)
    assert RunConfig(experiment="fusion").output_dir == Path("runs/fusion")


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("`top_k=0` is odd", "--top_k=0 is odd"),
        ("two of `a_b` and `export=False`.", "two of --a_b and --noexport."),
        ("`small=True`", "--small"),
        ("`template=a`b {}` has it", "--template=a`b {} has it"),
        ("`--help` and `pip install x` stay", "`--help` and `pip install x` stay"),
    ],
)
def test_the_command_line_spells_arguments_as_flags(problem, told):
    error = with_flags(UserError(problem, problem))
    assert (error.problem, error.remedy) == (told, told)


@pytest.mark.parametrize("module", [errors, fields])
def test_the_examples(module):
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_a_shipped_flagfile_is_found_outside_of_a_checkout(tmp_path, monkeypatch):
    """With the shipped flagfile that it names, and its table."""
    inside = parsed("--flagfile=experiments/cnn_to_text_full.cfg")
    monkeypatch.chdir(tmp_path)
    outside = parsed("--flagfile=experiments/cnn_to_text_full.cfg")
    assert outside.flagfile == inside.flagfile
    assert outside.scorer.class_descriptions.is_file()


def test_an_own_flagfile_of_that_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "fusion.cfg").write_text("--seed=9\n")
    monkeypatch.chdir(tmp_path)
    assert parsed("--flagfile=experiments/fusion.cfg").run.seed == 9


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory); check the path"),
        ("--flagfile={path}\n", "stands in a flagfile that it names itself; take one of the two out"),
    ],
)
def test_a_flagfile_that_cannot_be_read(tmp_path, content, problem):
    path = tmp_path / "own.cfg"
    if content:
        path.write_text(content.format(path=path))
    with pytest.raises(UserError) as caught:
        parsed(f"--flagfile={path}")
    assert str(caught.value) == f"--flagfile={path} {problem}"


@pytest.mark.parametrize("flag", ["class_descriptions", "target_map", "image_folder", "record", "output_dir"])
def test_an_empty_path_is_none_and_not_the_folder_that_one_is_in(flag, tmp_path):
    plain, empty = parsed(), parsed(f"--{flag}=")
    for settings in (empty, replayed(empty, tmp_path)):
        assert dataclasses.replace(settings, flagfile="") == dataclasses.replace(plain, flagfile="")


def test_a_path_that_must_be_there_may_not_be_empty():
    with pytest.raises(UserError, match="saved_models_dir= is empty; give a path, or leave it out"):
        parsed("--saved_models_dir=")

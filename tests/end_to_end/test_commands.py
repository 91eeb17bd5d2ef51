"""Every command and every piece of Python that the pages show is run, most of them shrunk.

Commands of `xmodal.run` are parsed here, and run on tiny data by `pytest -m slow
tests/end_to_end/test_commands.py`; `.ci/run` runs the flagfiles on their own data. Those for several hosts
are parsed alone: tests/end_to_end/test_multi_worker.py trains with the same strategy, and
experiments/two_hosts.py with whole commands.
"""

import re

import pytest
from absl.testing import flagsaver
from pages import ROOT, call, commands, follow, snippets
from tiny_data import CLASSES, flags_for, save_tiny_data
from tiny_export import tiny_served
from tiny_run import finished

from xmodal.config.flags import from_flags, parse
from xmodal.export import saved_model

RUN = "python -m xmodal.run"
RUNS = [command for command in commands() if command.startswith(RUN) and "--help" not in command]
# Who runs what is not run here.
ELSEWHERE = {
    "python -m xmodal.search --index=": "end_to_end/test_text_to_image.py",
    "python -m xmodal.paint --model=": "end_to_end/test_text_to_image.py",
    "python -m xmodal.demo --model=": "end_to_end/test_demo.py",
    "python -m xmodal.ask --model=": "end_to_end/test_ask.py",
    "python -m xmodal.audit --dataset=": "end_to_end/test_audit.py",
    "python -m xmodal.bench --bench=speed": "bench/test_speed.py",
    "python -m xmodal.bench --bench=growth": "bench/test_growth.py",
    "saved_models/fusion/1": "end_to_end/test_fusion_recipe.py",
    "saved_models/bert_news_litert/1": "export/test_compressed.py",
}
# What is run here, but for `RUNS`.
HERE = [
    "python -m xmodal.run --help",
    "python -m xmodal.doctor",
    "python -m xmodal.init photos",
    "python -m xmodal.predict --model=saved_models/vgg_to_bert runs/vgg_to_bert/examples/",
    "python -m xmodal.predict --model=saved_models/vgg_to_bert --sheet=answers.png photos/",
    "python -m xmodal.predict --model=saved_models/vgg_to_bert --why=why.png photos/",
    "python -m xmodal.predict --model=saved_models/bert_news reviews.csv",
    "python -m xmodal.compare runs/a runs/b --output=comparison.html",
    "python -m xmodal.fetch --clear_cache",
    "python -m xmodal.fetch --flagfile=experiments/vgg_to_bert.cfg",
    "saved_models/vgg_to_bert/1",
    "transfer_weights(source, target",
    "xmodal.transfer_weights(base, target",
]
# What a shrunk run needs beside `flags_for`, for tiny data has other classes and a tiny BERT other layers.
MORE = {
    "vgg_to_bert_parity.cfg": ["--target_map=pets.csv"],
    "cnn_to_text.cfg": ["--class_descriptions=described.csv", "--word_vectors=random"],
    "cifar10.cfg": ["--trainable=block1", "--precision=float32"],
    "across_languages.cfg": ["--text_trainable=all", "--documents=tsv:data/sib200/eng_Latn"],
    "thucnews.cfg": ["--documents=tsv:data/sib200/eng_Latn", "--label_column=category"],
    "--attacked_examples": ["--attacked_examples=2"],
    "bert_news": ["--attacked_examples=2", "--nosmall"],
    "vgg_to_bert": ["--nosmall"],
}


def test_there_is_a_way_to_run_whatever_is_shown():
    shown = [*commands(), *snippets()]
    ways = [*HERE, *ELSEWHERE]
    for item in shown:
        assert item in RUNS or any(way in item for way in ways), f"nothing runs {item}"
    for way in ways:
        assert any(way in item for item in shown), f"nothing shows {way} any more"
    for way, test in ELSEWHERE.items():
        assert f'"{way}' in (ROOT / "tests" / test).read_text(), f"{test} does not run {way}"


@pytest.mark.parametrize("command", RUNS)
def test_the_flags_of_a_run_are_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = command.removeprefix(RUN).split()
    with flagsaver.flagsaver():
        assert parse(["run", *words]) == []
        assert from_flags()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands find what they name."""
    folder = tmp_path_factory.mktemp("commands")
    save_tiny_data(folder)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    (folder / "digit.png").write_bytes((folder / "photos/cat/2.png").read_bytes())
    (folder / "runs/vgg_to_bert/examples").mkdir(parents=True)
    (folder / "runs/vgg_to_bert/examples/1.png").write_bytes((folder / "photos/cat/2.png").read_bytes())
    finished(folder / "runs/a", 90, 3)
    finished(folder / "runs/b", 98, 4)
    (folder / "pets.csv").write_text("description,target\ncat,yes\ndog,no\n")
    (folder / "described.csv").write_text("name,description\ncat,a warm animal\ndog,not a cat\n")
    return folder


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XMODAL_HOME", str(folder / "home"))
    return folder


@pytest.fixture(scope="module")
def served(folder):
    return saved_model.export_saved_model(tiny_served(folder / "tiny"), folder / "saved_models/vgg_to_bert")


def test_help_is_printed(capsys):
    assert call(f"{RUN} --help") == 0
    assert "--text_style" in capsys.readouterr().out


def test_the_machine_is_looked_at(inside, capsys):
    # Another machine may have something in the way.
    assert call("python -m xmodal.doctor") in (0, 2)
    assert "processor" in capsys.readouterr().out


def test_a_flagfile_is_written(inside):
    assert call("python -m xmodal.init photos") == 0
    with flagsaver.flagsaver():
        parse(["run", "--flagfile=photos.cfg"])
        assert from_flags().data.dataset == "folder:photos"


def test_pictures_are_answered(inside, served, capsys):
    assert call("python -m xmodal.predict --model=saved_models/vgg_to_bert runs/vgg_to_bert/examples/") == 0
    assert "examples/1.png" in capsys.readouterr().out


def test_pictures_are_shown_with_their_answers(inside, served):
    assert call("python -m xmodal.predict --model=saved_models/vgg_to_bert --sheet=answers.png photos/") == 0
    assert (inside / "answers.png").is_file()


def test_what_made_an_answer_is_shown(inside, served):
    assert call("python -m xmodal.predict --model=saved_models/vgg_to_bert --why=why.png photos/") == 0
    assert (inside / "why.png").is_file()


def test_a_table_is_answered(inside, served, capsys):
    (inside / "reviews.csv").write_text("text,number\na photo of a cat,17\n")
    (inside / "saved_models/bert_news").symlink_to("vgg_to_bert")
    assert call("python -m xmodal.predict --model=saved_models/bert_news reviews.csv") == 0
    assert "a photo of a cat" in capsys.readouterr().out


def test_runs_are_compared(inside, capsys):
    assert call("python -m xmodal.compare runs/a runs/b --output=comparison.html") == 0
    assert "98.0%" in capsys.readouterr().out
    assert (inside / "comparison.html").is_file()


def test_the_cache_is_cleared(inside, capsys):
    assert call("python -m xmodal.fetch --clear_cache") == 0
    assert "freed" in capsys.readouterr().out


def test_what_a_run_needs_is_fetched(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert call("python -m xmodal.fetch --flagfile=experiments/vgg_to_bert.cfg") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("vgg16_imagenet", "minilm_l6", "mnist_5k"))


def test_the_export_is_asked_in_python(inside, served, capsys):
    follow("saved_models/vgg_to_bert/1")
    assert b"a photo of " in capsys.readouterr().out.encode()


@pytest.mark.parametrize("part", ["(source, target", "(base, target"])
def test_weights_are_transferred_in_python(part):
    follow(f"transfer_weights{part}")


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in RUNS if "multi_worker" not in command])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_shrunk(command, inside, tmp_path):
    rows = [f"{name}\ta {name} {number}\n" for number in range(12) for name in CLASSES]
    for language in re.findall(r"data/sib200/\w+", (ROOT / "experiments/across_languages.cfg").read_text()):
        for split in ("train", "dev", "test"):
            path = inside / language / f"{split}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(["category\ttext\n", *rows]))
    more = [flag for part, flags in MORE.items() if part in command for flag in flags]
    taken = flags_for(*command.removeprefix(RUN).split(), *more)
    where = [f"--output_dir={tmp_path}/run"]
    if any(name in command for name in ("vgg_to_bert", "bert_news", "fusion", "text_to_image", "names_to")):
        where += [f"--saved_models_dir={tmp_path}/saved_models"]
    assert call(command, *taken, *more, *where) == 0
    assert (tmp_path / "run/metrics.json").is_file() != ("--dry_run" in command)

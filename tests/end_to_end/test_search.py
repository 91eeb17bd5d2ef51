"""Runs with --minutes: what a search leaves, and that its flagfile replays the run without a search."""

import json

import pytest
from absl.testing import flagsaver
from in_process import run_here
from tiny_data import save_tiny_data

from xmodal.config import flags
from xmodal.core.errors import UserError
from xmodal.runs.folder import begin

# What makes a search long: the rest is a few trainings of seconds, and the clock decides nothing.
OF_IMAGES = (
    *("--fixed=trainable,head_learning_rate,epochs", "--base=small_cnn", "--target=small_cnn"),
    *("--features=auto", "--explained=0", "--text_head=zero_shot"),
)
OF_TEXTS = "--fixed=sequence_length,text_epochs"
FAST = ("--minutes=600", "--noexport", "--nobaseline")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_tiny_data(folder)
    return folder


def settings(folder, *words):
    with flagsaver.flagsaver():
        argv = ["run", *words]
        flags.parse(argv)
        config = flags.from_flags()
        flags.require_read(config, argv)
        return config


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched") / "run"
    words = (f"--flagfile={data / 'vgg_to_bert.cfg'}", *FAST, *OF_IMAGES, f"--output_dir={folder}")
    done = run_here(*words, cwd=data)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_search_of_images_leaves_its_table_and_its_choice_with_reasons(searched):
    chosen = (searched / "chosen.cfg").read_text()
    trials = json.loads((searched / "search.json").read_text())["trials"]
    assert {"--image_size=64", "--augment="} <= {flag for trial in trials for flag in trial["flags"]}
    trained = [trial for trial in trials if trial["accuracy"] is not None]
    best = max(trained, key=lambda trial: (trial["accuracy"], -trial["loss"]))
    assert all(flag in chosen.splitlines() for flag in best["flags"])
    assert "\n# LogME of features without training, higher is better: 32 " in chosen
    (table,) = [each for each in metrics(searched)["tables"] if each["caption"].startswith("What the search")]
    assert len(table["rows"]) == len(trials)
    assert "What the search tried, in order" in (searched / "report.html").read_text()
    assert "chosen.cfg --overwrite" in metrics(searched)["command"]


@pytest.mark.slow
def test_the_flagfile_replays_the_run_without_a_search(data, searched, tmp_path):
    again = run_here(f"--flagfile={searched / 'chosen.cfg'}", f"--output_dir={tmp_path}", cwd=data)
    assert again.returncode == 0, again.stderr
    assert "search:" not in again.stdout
    first, second = (metrics(folder)["results"] for folder in (searched, tmp_path))
    for result in (*first.values(), *second.values()):
        del result["seconds"]
    assert first == second


def test_documents_are_searched_too(data, tmp_path):
    words = (*FAST, OF_TEXTS, "--until=0.05", f"--output_dir={tmp_path / 'a'}")
    searched = run_here(f"--flagfile={data / 'bert_news.cfg'}", *words, cwd=data)
    assert searched.returncode == 0, searched.stderr
    trials = json.loads((tmp_path / "a/search.json").read_text())["trials"]
    # Any training is good enough.
    assert sum(trial["accuracy"] is not None for trial in trials) == 1
    assert "search: nothing better is searched for, until=0.05" in searched.stdout


@pytest.mark.slow
def test_networks_that_learn_as_a_whole_are_searched_too(data, tmp_path):
    network = ("--base=small_cnn", "--target=small_cnn", "--features=auto", "--trainable=all", "--patience=1")
    words = (*network, "--fixed=image_size,augment,epochs,trainable", f"--output_dir={tmp_path / 'a'}")
    done = run_here(f"--flagfile={data / 'vgg_to_vgg.cfg'}", *FAST, *words, cwd=data)
    assert done.returncode == 0, done.stderr
    chosen = (tmp_path / "a/chosen.cfg").read_text().splitlines()
    tried = [trial["flags"] for trial in json.loads((tmp_path / "a/search.json").read_text())["trials"]]
    # A look, the flags as they are, and the other rate of all layers.
    assert tried == [[], [], ["--learning_rate=0.0001"]]
    assert len({"--learning_rate=0.0001", "--learning_rate=0.0003"} & {*chosen}) == 1


def test_what_the_command_line_names_stays(data):
    flagfile = f"--flagfile={data / 'vgg_to_bert.cfg'}"
    typed = settings(data, flagfile, "--minutes=3", "--image_size=64", "--base=VGG16", "--seed=1")
    assert typed.search.fixed == ("base", "image_size")
    # As config.cfg has it, where nothing is on the command line.
    config = data / "fixed.cfg"
    config.write_text(typed.flagfile)
    assert settings(data, f"--flagfile={config}").search == typed.search
    assert settings(data, flagfile, "--image_size=64").search.fixed == ()
    assert settings(data, flagfile, "--minutes=3", "--fixed=augment").search.fixed == ("augment",)


def test_the_chosen_values_are_those_that_their_flagfile_gives(data):
    config = settings(data, f"--flagfile={data / 'vgg_to_bert.cfg'}", "--minutes=3", "--learning_rate=2e-4")
    values = {"features": ("block1_pool",), "augment": (), "learning_rate": 5e-5, "epochs": 7}
    chosen = config.with_values(values | {"grow": ("*",), "drop": (), "minutes": 0.0, "fixed": ()})
    (data / "chosen.cfg").write_text(chosen.flagfile)
    assert settings(data, f"--flagfile={data / 'chosen.cfg'}") == chosen
    assert (chosen.image.epochs, chosen.image.augment, chosen.search.minutes) == (7, (), 0.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--minutes=-1"], "--minutes=-1: -1.0 is not a number in the range [0, 10080]"),
        (["--minutes=nan"], "--minutes=nan: give a finite number"),
        (["--minutes=soon"], "--minutes=soon"),
        (
            ["--minutes=3", "--experiment=fusion"],
            "--minutes=3.0 is not read by --experiment=fusion; leave it",
        ),
        (["--fixed=epochs"], "--fixed=epochs changes nothing without --minutes; leave it out"),
        (
            ["--minutes=3", "--fixed=epoch"],
            "--fixed=epoch is nothing that a search in vgg_to_bert chooses; did",
        ),
        (
            ["--minutes=3", "--fixed=image_size", "--experiment=bert_news"],
            "--fixed=image_size is nothing that a search in bert_news chooses; ",
        ),
        (
            ["--experiment=bert_news", "--documents=csv:a.csv", "--multi_label=;", "--minutes=3"],
            "--minutes=3.0 changes nothing without a single label for each example",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_a_line(data, words, told):
    with pytest.raises(UserError) as caught:
        settings(data, *words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupted_search_is_bound_to_its_flags_and_another_begins_anew(data, tmp_path):
    flagfile = f"--flagfile={data / 'vgg_to_bert.cfg'}"
    folder = tmp_path / "run"
    words = (flagfile, *FAST, f"--output_dir={folder}")
    config = settings(data, *words)
    begin(folder, config.flagfile, overwrite=False, restart=False)
    (folder / "search.json").write_text('{"trials": []}')
    other = settings(data, flagfile, *FAST, "--seed=3", f"--output_dir={folder}").flagfile
    with pytest.raises(UserError, match="holds an unfinished run with other flags"):
        begin(folder, other, overwrite=False, restart=False)
    assert begin(folder, config.flagfile, overwrite=False, restart=False)
    assert not begin(folder, other, overwrite=False, restart=True)
    assert not (folder / "search.json").exists()

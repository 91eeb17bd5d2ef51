"""Dry runs: they find mistakes, say what a run would cost, and leave nothing."""

import os
import tempfile
import time
from pathlib import Path

import pytest
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert
from tiny_data import CLASSES, save_tiny_data

from xmodal import run
from xmodal.config.flags import from_flags, parse
from xmodal.core.errors import UserError
from xmodal.runs import dry_run
from xmodal.training import loop
from xmodal.training.rehearsal import Steps, representatives


def settings(*flags):
    with flagsaver.flagsaver():
        parse(["run", *flags])
        return from_flags()


def test_what_a_stage_would_take_is_what_it_took_and_what_was_left_out(tmp_path):
    said, given = [], []

    def recipe(given_config, clock):
        given.append(given_config)
        Path(given_config.run.output_dir).mkdir(parents=True)
        (given_config.run.output_dir / "metrics.json").write_text("{}")
        with clock.stage("data"):
            time.sleep(0.05)
        clock.log("warning: class 7 has few examples")
        clock.log("Test accuracy: 10%")
        seeds = representatives(range(given_config.scorer.seeds), 2)
        for stage, repeats in [*((f"seed {seed}", times) for seed, times in seeds), ("under attack", 10.0)]:
            with clock.stage(stage, repeats):
                steps = Steps(106)
                for _ in steps.few(range(106)):
                    time.sleep(0.01)
                steps.close()
            # Budgets go by what a stage takes in the run, once.
            assert 1.06 <= clock.seconds[stage] < 3

    asked = settings(
        f"--output_dir={tmp_path}/runs",
        "--seeds=3",
        "--small",
        "--experiment=bert_news",
    )
    dry_run.dry_run(asked, recipe, said.append)
    (tried,) = given
    assert not tried.run.output_dir.parent.exists()
    assert not tried.run.small
    assert list(tmp_path.iterdir()) == []
    told = "\n".join(said)
    assert "warning: class 7 has few examples" in said
    assert "accuracy" not in told
    assert "data " in told
    # 1.06 s each, 3 seeds and ten times as many attacked examples.
    seconds = float(told.split("would take about ")[1].split(" s")[0])
    assert 13.8 <= seconds < 30
    assert "Peak memory: " in told
    assert "Not tried: the small forms of --small." in told


def test_a_mistake_is_told_as_by_the_run_and_leaves_nothing(tmp_path):
    tried = []

    def recipe(given_config, clock):
        tried.append(given_config.run.output_dir)
        tried[0].mkdir()
        raise UserError("the data is bad", "fix it")

    asked = settings(f"--output_dir={tmp_path}/runs")
    with pytest.raises(UserError, match="the data is bad"):
        dry_run.dry_run(asked, recipe)
    assert not tried[0].parent.exists()
    finished = tmp_path / "runs/metrics.json"
    finished.parent.mkdir()
    finished.write_text("{}")
    (tmp_path / "runs/config.cfg").write_text(asked.flagfile)
    with pytest.raises(UserError, match="holds a finished run"):
        dry_run.dry_run(asked, recipe)
    assert len(tried) == 1
    assert finished.exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny pictures, letters and pairs, and a BERT to read with."""
    folder = tmp_path_factory.mktemp("dry")
    save_tiny_data(folder)
    return folder


@pytest.fixture
def dry(folder, monkeypatch, capsys):
    """Returns what runs a command line in this process, in the folder: exit code, output and errors."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XMODAL_HOME", str(folder / "home"))

    def called(*flags):
        with flagsaver.flagsaver():
            code = run.main(["run", "--dry_run", *flags])
        return code, *capsys.readouterr()

    return called


def files(folder):
    return {str(path) for path in folder.rglob("*")} | {
        name for name in os.listdir(tempfile.gettempdir()) if "xmodal" in name
    }


def gone_through(folder, dry, *flags):
    before = files(folder)
    code, told, errors = dry(*flags)
    assert code == 0, errors
    assert files(folder) == before
    assert "would take about" in told
    return told


def test_a_dry_run_of_a_flagfile(folder, dry):
    told = gone_through(folder, dry, "--flagfile=bert_news.cfg", "--noexport", "--noscrub")
    for stage in ("data", "bert", "tf_idf"):
        assert f"\n{stage} " in "\n" + told


@pytest.mark.slow
def test_every_training_without_transfer_is_counted(folder, dry, monkeypatch):
    planned = []

    class Counted(Steps):
        def __init__(self, steps):
            super().__init__(steps)
            planned.append(steps)

    monkeypatch.setattr(loop, "Steps", Counted)
    save_tiny_bert(folder / "learned", longest=64, alike=[CLASSES])
    flags = ["--text_encoder=learned", "--text_epochs=3", "--per_class=4,all", "--noexport", "--noscrub"]
    told = gone_through(folder, dry, "--flagfile=bert_news.cfg", *flags)
    for stage in ("random_weights", "from_scratch", "without transfer: reading", "4 a class"):
        assert f"\n{stage} " in told
    # 28 documents in batches of 8, and TF-IDF's in one of 32.
    of_all = 4
    tf_idf = planned[1]
    documents = 4 * 2
    few = documents // 8 * round(3 * (28 / documents) ** 0.5)
    assert planned == [3 * of_all, tf_idf, 3 * of_all, *[of_all] * 3, 3 * of_all, *[few] * 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "stage"),
    [
        (["--flagfile=vgg_to_bert.cfg"], "export"),
        (["--flagfile=bert_news.cfg", "--attacked_examples=4", "--robust"], "bert_robust: under attack"),
        (["--flagfile=vgg_to_vgg.cfg", "--noexport"], "target: training"),
        (["--flagfile=cnn_to_text.cfg", "--base=small_cnn", "--word_vectors=random"], "seed 0"),
        (["--flagfile=fusion.cfg"], "fused_attention"),
        (["--flagfile=text_to_image.cfg"], "drawing"),
    ],
    ids=lambda value: value[0].partition("=")[2].removesuffix(".cfg") if isinstance(value, list) else "",
)
def test_a_dry_run_of_every_experiment(folder, dry, flags, stage):
    assert f"\n{stage} " in gone_through(folder, dry, *flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dataset=folder:photoes"], "photoes"),
        (["--dataset=folder:photos", "--target=VGG20"], "'VGG20' is no model of Keras Applications"),
    ],
)
def test_a_dry_run_finds_mistakes(folder, dry, flags, said):
    before = files(folder)
    code, _, errors = dry("--flagfile=vgg_to_bert.cfg", *flags)
    assert code == 2
    (line,) = (line for line in errors.splitlines() if line.startswith("error:"))
    assert said in line
    assert files(folder) == before

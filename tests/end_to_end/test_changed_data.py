"""A run that was interrupted goes on with the data that it began with, and with no others."""

import importlib
from pathlib import Path

import pytest
from absl.testing import flagsaver
from tiny_data import save_tiny_data

from xmodal import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save_tiny_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(experiment: str, *flags: str) -> int:
    with flagsaver.flagsaver():
        return run.main(["run", f"--flagfile={experiment}.cfg", "--noexport", *flags])


def interrupt(monkeypatch, module: str, function: str, experiment: str, *flags: str) -> None:
    """Starts a run, and interrupts it where it calls a function."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module(module), function, stop)
        assert started(experiment, *flags) == run.INTERRUPTED


def test_swapped_labels_are_told_and_the_right_ones_go_on(folder, monkeypatch, capsys):
    rows = [f"a photo of a {('cat', 'dog')[number % 2]} number {number}" for number in range(40)]
    names = [("cat", "dog")[number % 2] for number in range(40)]

    def write(labels: list[str]) -> None:
        lines = [f"{row},{label}" for row, label in zip(rows, labels, strict=True)]
        Path("letters.csv").write_text("\n".join(["text,label", *lines]))

    flags = ("bert_news", "--documents=csv:letters.csv", "--nobaseline")
    write(names)
    interrupt(monkeypatch, "xmodal.recipes.bert_news.recipe", "train_baseline", *flags)
    write(names[::-1])
    assert started(*flags) == run.USER_ERROR
    told = capsys.readouterr().err
    assert (
        "holds an unfinished run that was begun with other data: changed are labels of the examples" in told
    )
    assert "put the data back as they were, or add --restart" in told
    write(names)
    assert started(*flags) == run.DONE


def test_another_target_map_is_told(folder, monkeypatch, capsys):
    Path("map.csv").write_text("description,target\ncat,warm\ndog,cold\n")
    flags = ("vgg_to_bert", "--target_map=map.csv", "--nobaseline")
    interrupt(monkeypatch, "xmodal.recipes.vgg_to_bert.recipe", "truth_of", *flags)
    Path("map.csv").write_text("description,target\ncat,cold\ndog,warm\n")
    assert started(*flags) == run.USER_ERROR
    assert "with other data: changed are --target_map;" in capsys.readouterr().err


def test_a_run_that_stopped_at_its_data_takes_the_corrected_command(folder, monkeypatch, capsys):
    module = "xmodal.recipes.bert_news.recipe"
    # Killed while it read them: it has left its folder, and no state of anything.
    interrupt(monkeypatch, module, "load_configured_documents", "bert_news", "--seed=1")
    Path("letters/cat/0.txt").write_bytes(b"caf\xe9 cat")
    assert started("bert_news") == run.USER_ERROR
    assert "'cat/0.txt' is not in utf-8" in capsys.readouterr().err
    interrupt(monkeypatch, module, "prepare_documents", "bert_news", "--fallback_encoding=latin-1")
    Path("letters/cat/0.txt").write_bytes(b"caf cat")
    interrupt(monkeypatch, module, "train_baseline", "bert_news", "--nobaseline", "--seed=2")

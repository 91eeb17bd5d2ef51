"""The command `python -m xmodal.compare` on folders that runs have left."""

import json
import os

import numpy as np
import pytest
from tiny_run import NAMES, finished

from xmodal.compare import main
from xmodal.evaluation.metrics import evaluate
from xmodal.runs import comparison


@pytest.fixture
def runs(tmp_path):
    first = finished(tmp_path / "a", 90, 3)
    second = finished(tmp_path / "b", 98, 4, seconds={"data": 2.0, "tf_idf": 0.5})
    labels = np.arange(1200) % 2
    baseline = evaluate("tf_idf", np.eye(2)[labels], labels, NAMES)
    third = finished(tmp_path / "c", 98, 4, results={"tf_idf": baseline}, gains=(), histories=())
    return [first, second, third]


def test_tables_by_hand(runs):
    accuracy, difference, loss, _, counts, flags, seconds = comparison.compare(comparison.read_runs(runs))
    assert accuracy.head == ("", "a", "b", "c")
    assert accuracy.rows == (
        ("text", "90.0% (82.6% to 94.5%)", "98.0% (93.0% to 99.4%)", "-"),
        ("tf_idf", "-", "-", "100.00% (99.68% to 100.00%)"),
    )
    assert difference.caption == "Difference in accuracy from a, in points, with its 95% interval"
    # By hand: sqrt((0.98 - 0.930)^2 + (0.945 - 0.9)^2) below, sqrt((0.994 - 0.98)^2 + (0.9 - 0.826)^2) above.
    assert difference.head == ("", "b", "c")
    assert difference.rows == (("text", "+8.0 (1.3 to 15.6): better", "-"),)
    assert loss.rows[0] == ("text", "0.325", "0.149", "-")
    assert counts.rows == (("train", "1,234", "1,234", "1,234"), ("test", "100", "100", "100"))
    # Folders differ by need, and --drop does not.
    assert flags.rows == (("--epochs", "3", "4", "4"),)
    assert seconds.rows == (
        ("data", "1.0 s", "2.0 s", "1.0 s"),
        ("images", "2 min 11 s", "-", "2 min 11 s"),
        ("tf_idf", "-", "0.5 s", "-"),
        ("all stages", "2 min 12 s", "2.5 s", "2 min 12 s"),
    )


def test_flags_are_read_as_they_were_given(runs):
    flags = comparison.read_run(runs[0], "a").flags
    assert (flags["export"], flags["drop"], flags["epochs"]) == (False, "a, b", 3)


def test_flags_of_a_run_that_searched_are_those_that_it_chose(runs):
    (runs[0] / "chosen.cfg").write_text("# --epochs=5 was slow.\n--epochs=7\n")
    assert comparison.read_run(runs[0], "a").flags == {"epochs": 7}


def test_the_command_prints_tables_and_writes_a_page(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["", *map(str, runs), f"--output={page}"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("text    90.0%"))
    assert row.split("  ")[-1].strip() == "-"
    written = page.read_text()
    assert "3 runs side by side" in written
    assert "Transfer helped: +40.0 points" in written
    assert 'aria-label="images: validation"' in written
    assert "<script" not in written
    assert 'http-equiv="Content-Security-Policy"' in written


def test_a_page_is_replaced_and_what_is_none_stays(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    command = ["", *map(str, runs), f"--output={page}"]
    assert [main(command), main(command)] == [0, 0]
    written = page.read_text()
    page.write_text("<html>somebody's</html>")
    capsys.readouterr()
    assert main(command) == 2
    out, told = capsys.readouterr()
    assert (
        told == f"error: '{page}' is there already; choose another name, or add --overwrite to replace it\n"
    )
    # Told before anything else is done.
    assert out == ""
    assert page.read_text() == "<html>somebody's</html>"
    assert main([*command, "--overwrite"]) == 0
    assert page.read_text() == written


def test_a_run_that_was_killed_before_its_export_is_not_compared(runs, capsys):
    record = runs[1] / "checkpoints/run.json"
    record.parent.mkdir()
    record.write_text('{"flags": "", "finished": false}')
    assert main(["", *map(str, runs)]) == 2
    assert "has not come to its end; give the --output_dir of a run that has" in capsys.readouterr().err
    record.write_text('{"flags": "", "finished": true}')
    assert main(["", *map(str, runs)]) == 0


def changed(file, **figures):
    """Puts other figures into the results of metrics.json."""
    told = json.loads(file.read_text())
    told["results"]["text"] |= figures
    file.write_text(json.dumps(told))


@pytest.mark.parametrize("line", ["[]", '{"stage": 1, "epoch": 0}', '{"stage": "a", "epoch": -1}', "{", ""])
def test_an_odd_line_of_the_epochs_is_told(runs, line, capsys):
    with open(runs[1] / "metrics.jsonl", "a") as file:
        file.write(line + "\n")
    assert main(["", *map(str, runs)]) == 2
    assert "metrics.jsonl' cannot be read (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "holds no finished run: there is no metrics.json"),
        (lambda file: file.write_text("{"), "cannot be read ("),
        (lambda file: file.write_text(json.dumps({})), "metrics.json' cannot be read ('results' is missing)"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "metrics.json' cannot be read (it is a pipe)"),
        (
            lambda file: changed(file, accuracy=7),
            "('results.text.accuracy' is 7.0, which is not",
        ),
        (lambda file: changed(file, ci95=[0.5]), "('results.text.ci95' is [0.5], which is no list of 2)"),
        (lambda file: changed(file, n=0), "('results.text.n' is 0, which is not from 1 to"),
    ],
    ids=["missing", "no JSON", "foreign", "pipe", "share", "interval", "count"],
)
def test_a_folder_without_a_finished_run_is_named(runs, damage, message, capsys):
    damage(runs[1] / "metrics.json")
    assert main(["", *map(str, runs)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert str(runs[1]) in told
    assert told.count("\n") == 1


def test_one_run_compares_with_nothing(runs, capsys):
    assert main(["", str(runs[0])]) == 2
    assert "compares with nothing; give two or more" in capsys.readouterr().err

"""`xmodal NAME` is `python -m xmodal.NAME`."""

import subprocess
import sys
from configparser import ConfigParser

import pytest
from pages import ROOT

from xmodal.__main__ import COMMANDS, main


def xmodal(*arguments: str) -> subprocess.CompletedProcess:
    """Runs what the console script runs."""
    script = "import sys; from xmodal.__main__ import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_alone_it_lists_the_commands_and_a_first_one(arguments, capsys):
    assert main(["xmodal", *arguments]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in COMMANDS)
    first = told.splitlines()[-1].strip()
    assert first == "xmodal run --flagfile=experiments/vgg_to_bert.cfg"
    assert (ROOT / first.partition("=")[2]).is_file()


def test_a_command_that_there_is_not(capsys):
    assert main(["xmodal", "pedict"]) == 2
    assert capsys.readouterr().err == "error: 'pedict' is no command; did you mean 'predict'?\n"


def test_every_command_is_listed():
    files = {path.stem for path in (ROOT / "xmodal").glob("*.py")} - {"__init__", "__main__"}
    assert set(COMMANDS) == files | {"bench"}


def test_a_command_is_run_with_its_arguments():
    done = xmodal("fetch", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "nothing" in done.stderr
    assert xmodal("run", "--seed=x").returncode == 2
    assert "--documents" in xmodal("run", "--help").stdout


def test_the_console_script_is_this_one():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "xmodal = xmodal.__main__:main" in setup["options.entry_points"]["console_scripts"]


def test_run_without_a_word_says_how_to_begin_and_begins_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "xmodal", "run"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--flagfile=experiments/vgg_to_bert.cfg" in done.stdout
    assert list(tmp_path.iterdir()) == []

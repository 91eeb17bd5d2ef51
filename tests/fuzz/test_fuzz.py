"""Odd and damaged input to every door of the package: all of it has to hold.

2,000 cases in the default suite; `pytest -m fuzz` tries 35,000, as `python tests/fuzz/fuzz.py` does.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jail import run_in_jail

PROGRAM = Path(__file__).with_name("fuzz.py")


def fuzzed(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_outside_of_the_jail_can_be_written(jailed):
    witness = jailed.parent / "witness"
    witness.write_text("as it was")
    script = f"""
import os, socket
open("inside", "w").write("x")
for call in (
    lambda: open({str(witness)!r}, "w"),
    lambda: os.unlink({str(witness)!r}),
    lambda: os.rename({str(witness)!r}, "inside"),
    lambda: os.rename("/dev/null", "/dev/lost"),
    lambda: os.mkdir("/tmp/lost"),
    lambda: open("/proc/self/oom_score_adj", "w"),
    lambda: socket.create_connection(("127.0.0.1", 1), 1),
):
    try:
        call()
    except OSError as error:
        print(type(error).__name__)
"""
    done = run_in_jail(jailed, script)
    assert done.stdout.count("Error") == 7, done.stdout + done.stderr
    assert witness.read_text() == "as it was"
    assert list(jailed.iterdir()) == []


def test_two_thousand_cases_hold(jailed):
    done = fuzzed("--cases=2000", "--no-tensorflow")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,0" in done.stdout.splitlines()[-1]


def test_what_does_not_hold_is_counted(jailed):
    """A program that counted everything as held would pass as well."""
    script = """
import sys, json
sys.path.insert(0, sys.argv[1])
import fuzz, targets
from hypothesis import strategies as fuzz_strategies
count = [0]
def odd(data):
    data.draw(fuzz_strategies.integers())
    count[0] += 1
    if count[0] % 4 == 0:
        raise KeyError("odd")
targets.TARGETS["odd"] = targets.Target(odd, 1)
print(json.dumps(vars(fuzz.tried("odd", 40, 0))))
"""
    told = json.loads(run_in_jail(jailed, script, str(PROGRAM.parent)).stdout)
    assert (told["cases"], told["held"]) == (40, 30)
    assert told["failures"][0].startswith("10 x ")


@pytest.mark.fuzz
def test_thirty_five_thousand_cases_hold(jailed):
    done = fuzzed("--cases=35000", "--seed=1")
    assert done.returncode == 0, done.stdout + done.stderr

"""The command `python -m xmodal.doctor`."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from xmodal import doctor

ROOT = Path(__file__).parents[2]


def verdicts(folder: Path) -> dict[str, str]:
    return {finding.subject: finding.verdict for finding in doctor.examine(folder / "runs", folder / "cache")}


def test_the_command_finds_this_machine_fit(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "xmodal.doctor", "--json", f"--output_dir={tmp_path}"],
        cwd=ROOT,
        env=os.environ | {"XMODAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert {finding["verdict"] for finding in findings.values()} <= {"good", "absent", "doubtful"}
    assert f"tensorflow {metadata.version('tensorflow')}" in findings["packages"]["detail"]
    assert findings["minilm_l6"]["verdict"] == "absent"
    assert findings["minilm_l6"]["detail"] == "not whole in the cache: fetched when a run needs it"
    assert [path for path in tmp_path.iterdir()] == [], "it leaves something behind"


def test_what_cannot_be_written_is_bad_and_ends_the_command_with_2(capsys):
    # Not even root makes files there.
    assert doctor.main(["", "--output_dir=/proc/runs"]) == 2
    told = capsys.readouterr()
    assert "bad       output folder          /proc/runs cannot be written" in told.out
    assert told.err.endswith("in the way of a run: output folder; choose one that you may write to\n")


def test_a_full_disk_is_bad(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**9, 10**9))
    found = verdicts(tmp_path)
    assert (found["output folder"], found["cache"], found["packages"]) == ("bad", "bad", "good")


@pytest.mark.parametrize(
    ("gpu", "memory", "expected"), [(True, 3.9, "doubtful"), (False, 25.3, "good")], ids=["weak", "strong"]
)
def test_a_gpu_out_of_sight_and_little_memory_are_doubtful(gpu, memory, expected, tmp_path, monkeypatch):
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: gpu if str(path) == "/dev/nvidia0" else exists(path))
    machine = {"cpu": "one", "cores": 2, "memory_gb": memory, "accelerators": []}
    monkeypatch.setattr(doctor, "hardware", lambda: machine)
    found = verdicts(tmp_path)
    assert (found["accelerators"], found["memory"]) == (expected, expected)


def test_packages_that_do_not_match_are_bad_and_end_the_look_at_devices(tmp_path, monkeypatch):
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "2.20.0" if name == "tensorflow-text" else version(name)
    )
    found = verdicts(tmp_path)
    assert found["packages"] == "bad"
    assert "processor" not in found


# What Python's own modules have read of the system before stays as it is.
ELSEWHERE = """
import runpy, sys, platform
if {system!r} == "win32":
    sys.modules.update(fcntl=None, resource=None)
sys.platform = {system!r}
platform.machine = lambda: "x86_64"
sys.argv = [{module!r}, *{words!r}]
runpy.run_module({module!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("system", "problem", "remedy"),
    [
        ("win32", "xmodal does not run on Windows itself", "install WSL, and xmodal in it"),
        ("darwin", "there are no wheels of TensorFlow for a Mac with an Intel processor", "use Linux"),
    ],
)
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("xmodal.doctor", ()),
        ("xmodal.run", ("--flagfile=experiments/vgg_to_bert.cfg",)),
        ("xmodal.predict", ("--model=saved_models/a", "b.png")),
        ("xmodal.bench", ("--bench=speed",)),
    ],
)
def test_a_system_without_wheels_is_told_in_one_line(system, problem, remedy, module, words, tmp_path):
    code = ELSEWHERE.format(system=system, module=module, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert problem in said
    assert remedy in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())

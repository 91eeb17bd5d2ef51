"""Systems and packages that xmodal does not run with, told apart by name before anything else breaks."""

import hashlib
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from xmodal.core.errors import UserError

REINSTALL = "run: pip install -c constraints.txt -e ."


def optional_package(name: str, needed_for: str, remedy: str) -> Any:
    """Imports a package that an extra brings.

    Raises:
        UserError: when it is not installed, or a library that it loads is not there.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        raise UserError(f"{needed_for} need the package {name} ({error})", remedy) from error


def check_system() -> None:
    """Checks that there are wheels of TensorFlow and tensorflow-text for this system.

    Raises:
        UserError: on Windows, and on a Mac with an Intel processor.
    """
    if sys.platform == "win32":
        raise UserError(
            "xmodal does not run on Windows itself, for which there is no wheel of tensorflow-text",
            "install WSL, and xmodal in it",
        )
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise UserError(
            "there are no wheels of TensorFlow for a Mac with an Intel processor", "use Linux, in a container"
        )


def check() -> None:
    """Checks the system, see `check_system`, and that the installed packages belong together.

    Raises:
        UserError: also when a package is missing, or two are of versions that do not match.
    """
    check_system()
    tensorflow, text = _version("tensorflow"), _version("tensorflow-text")
    if _minor(tensorflow) != _minor(text):
        raise UserError(
            f"tensorflow {tensorflow} and tensorflow-text {text} do not match: "
            "their first two numbers must be equal",
            REINSTALL,
        )
    keras = _version("keras")
    if int(keras.split(".")[0]) < 3:
        raise UserError(f"keras {keras} is too old: xmodal needs Keras 3", REINSTALL)
    nlp, hub = _version("keras-nlp"), _version("keras-hub")
    if nlp != hub:
        raise UserError(f"keras-nlp {nlp} and keras-hub {hub} do not match: they must be equal", REINSTALL)


def code() -> dict[str, str]:
    """Returns what computes the results: the digest of xmodal's modules and the versions under them."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    packages = ("tensorflow", "keras", "keras-nlp", "numpy")
    return {"the code of xmodal": digest.hexdigest()[:12]} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"the package {package} is not installed", REINSTALL) from error


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]

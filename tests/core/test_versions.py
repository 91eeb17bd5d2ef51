"""Packages that do not match, installed as far as their metadata goes, in fresh processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MATCHING = {
    "tensorflow": "2.21.0",
    "tensorflow-text": "2.21.1",
    "keras": "3.15.1",
    "keras-nlp": "0.32.0",
    "keras-hub": "0.32.0",
}
# Of the installed packages none is seen; in their place stand those of the given folder.
SCRIPT = """
import sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "site-packages" not in path)]
from xmodal.core import versions
from xmodal.core.errors import UserError
try:
    versions.check()
    print("all match")
except UserError as error:
    print(error)
print(sorted({"tensorflow", "tensorflow_text", "keras", "keras_nlp"} & set(sys.modules)))
"""


def checked(folder: Path, versions: dict[str, str]) -> str:
    for package, version in versions.items():
        info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer, imported = done.stdout.splitlines()
    assert imported == "[]"
    return answer


@pytest.mark.parametrize("changes", [{}, {"tensorflow": "2.21.3rc1"}, {"keras": "4.0.0"}])
def test_matching_versions(tmp_path, changes):
    assert checked(tmp_path, MATCHING | changes) == "all match"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"tensorflow-text": "2.20.0"},
            "tensorflow 2.21.0 and tensorflow-text 2.20.0 do not match: "
            "their first two numbers must be equal",
        ),
        (
            {"tensorflow": "3.21.0"},
            "tensorflow 3.21.0 and tensorflow-text 2.21.1 do not match: "
            "their first two numbers must be equal",
        ),
        ({"keras": "2.15.0"}, "keras 2.15.0 is too old: xmodal needs Keras 3"),
        (
            {"keras-hub": "0.31.0"},
            "keras-nlp 0.32.0 and keras-hub 0.31.0 do not match: they must be equal",
        ),
    ],
)
def test_versions_that_do_not_match_are_named(tmp_path, changes, problem):
    assert checked(tmp_path, MATCHING | changes) == f"{problem}; run: pip install -c constraints.txt -e ."


@pytest.mark.parametrize("package", MATCHING)
def test_a_missing_package_is_named(tmp_path, package):
    others = {name: version for name, version in MATCHING.items() if name != package}
    problem = f"the package {package} is not installed"
    assert checked(tmp_path, others) == f"{problem}; run: pip install -c constraints.txt -e ."


def test_what_is_installed_here_matches():
    done = subprocess.run(
        [sys.executable, "-c", "from xmodal.core import versions; versions.check()"],
        cwd=ROOT,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_tells_a_mismatch_before_anything_else(tmp_path):
    """In a process that has all that is installed here, but another tensorflow-text."""
    info = tmp_path / "tensorflow_text-2.19.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorflow-text\nVersion: 2.19.0\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from xmodal import run; "
        "code = run.main(['run', '--no_such_flag']); assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: tensorflow 2.21.0 and tensorflow-text 2.19.0 do not match")

"""`import xmodal`: the public names, each with an example that runs."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import save_tiny_data

import xmodal
from xmodal.export.predictor import Item


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folders `photos` and `letters`, `pairs.csv` and the preset `bert`, that the examples read."""
    made = tmp_path_factory.mktemp("examples")
    save_tiny_data(made)
    return made


@pytest.mark.parametrize("name", xmodal.__all__)
def test_a_public_name_has_an_example_that_runs(name, folder, tiny_exported, monkeypatch):
    monkeypatch.chdir(folder)
    served, exported = tiny_exported
    if not Path("exported").exists():
        Path("exported").symlink_to(exported)
    shown = getattr(xmodal, name)
    module = importlib.import_module(shown.__module__)
    names = {**vars(module), **{public: getattr(xmodal, public) for public in xmodal.__all__}}
    found = doctest.DocTestFinder(recurse=False).find(
        shown, name, globs=names | {"served": served, "Item": Item}
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    results = [runner.run(test) for test in found]
    assert sum(result.attempted for result in results) > 0, "there is no example"
    assert sum(result.failed for result in results) == 0


def test_the_names_are_those_that_type_checkers_see():
    assert sorted(xmodal._MODULES) == sorted(xmodal.__all__)
    source = Path(xmodal.__file__).read_text()
    for name, module in xmodal._MODULES.items():
        line = next(
            line for line in source.splitlines() if line.strip().startswith(f"from xmodal.{module} import")
        )
        assert name in line.partition(" import ")[2].split(", ")
    assert set(xmodal.__all__) <= set(dir(xmodal))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'xmodal' has no attribute 'Bridges'"):
        xmodal.Bridges  # noqa: B018


def test_the_import_itself_is_fast():
    script = (
        "import sys, time; start = time.perf_counter(); import xmodal; taken = time.perf_counter() - start; "
        "print(taken < 0.2, sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True []\n", done.stdout + done.stderr

"""The notebook: its code runs in a fresh process with small settings, and what is stored in it is sound."""

import ast
import base64
import json
import os
import re
import subprocess
import sys

import numpy as np
import tensorflow as tf
from pages import ROOT
from tiny_bert import save_tiny_bert

import xmodal

NOTEBOOK = json.loads((ROOT / "experiments/python_api.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SOURCES = ["".join(cell["source"]) for cell in CODE]
SMALL = {
    "DATA": "folder:digits",
    "TEXT_ENCODER": "bert",
    "EXPORTS": "saved_models/digits",
    "LABELS_PER_CLASS": 2,
    "BASE_EPOCHS": 1,
    "EPOCHS": (1,),
    "TEXT_EPOCHS": 1,
    "SEED": 0,
}


def stored(kind: str) -> list[str]:
    """Returns what the cells printed ("stdout", "stderr"), or drew ("image/png")."""
    outputs = [output for cell in CODE for output in cell["outputs"]]
    if kind.startswith("std"):
        return ["".join(output["text"]) for output in outputs if output.get("name") == kind]
    return [output["data"][kind] for output in outputs if kind in output.get("data", {})]


def small_cells() -> list[str]:
    """Returns the sources of the code cells, with small values in that of the settings."""
    [place] = [place for place, cell in enumerate(CODE) if "settings" in cell["metadata"].get("tags", ())]
    assigned = [node.targets[0].id for node in ast.parse(SOURCES[place]).body]
    assert assigned == list(SMALL), "the settings and what the test makes of them are the same names"
    small = "\n".join(f"{name} = {value!r}" for name, value in SMALL.items())
    return [*SOURCES[:place], small, *SOURCES[place + 1 :]]


def test_its_cells_run_in_a_fresh_process(tmp_path):
    save_tiny_bert(tmp_path / "bert", longest=64, more_words="zero four five six seven eight nine")
    rng = np.random.default_rng(0)
    for number in range(160):
        path = tmp_path / "digits" / str(number % 10) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 255, (28, 28, 3)).astype(np.uint8)
        path.write_bytes(tf.io.encode_png(noise).numpy())
    (tmp_path / "notebook.py").write_text("\n\n".join(small_cells()))
    environment = os.environ | {
        "MPLBACKEND": "agg",
        "XMODAL_HOME": str(tmp_path / "home"),
        # On CPUs without AVX-512 oneDNN writes that it falls back, as an error.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    # Without a screen, where matplotlib would say that it cannot show anything.
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore:FigureCanvasAgg is non-interactive", "notebook.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 grown by identity; largest difference of the outputs on a batch: 0.0" in done.stdout
    assert re.search(r"transfer (helped|hurt|made no difference)", done.stdout)
    assert len(re.findall(r"^- .+; .+", done.stdout, re.MULTILINE)) == 4
    assert (tmp_path / "saved_models/digits/1/saved_model.pb").is_file()
    # The tiny encoder and the pictures are there: nothing is fetched.
    assert not (tmp_path / "home/assets").exists()


def test_only_public_names_are_used():
    code = "\n".join(SOURCES)
    imported = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {name.name for node in imported for name in node.names} == {
        "keras",
        "matplotlib.pyplot",
        "numpy",
        "xmodal",
    }
    used = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xmodal"
    }
    assert used <= set(xmodal.__all__)
    assert len(used) >= 12


def test_every_cell_was_run_in_order():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    for source, cell in zip(SOURCES, CODE, strict=True):
        shows = "print(" in source or "show(" in source.replace("def show(", "")
        assert bool(cell["outputs"]) == shows, source


def test_stored_outputs_hold_no_error_warning_or_path():
    assert [output for cell in CODE for output in cell["outputs"] if output["output_type"] == "error"] == []
    assert stored("stderr") == []
    text = "\n".join([*SOURCES, *stored("stdout"), *stored("text/plain")])
    assert not re.search(r"(?i)\bwarning|traceback|deprecat", text)
    assert not re.search(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|opt|var|mnt|Users)\b|[A-Z]:\\", text)
    assert "\x1b" not in text


def test_stored_outputs_show_pictures_and_sentences():
    pictures = [base64.b64decode(picture) for picture in stored("image/png")]
    assert len(pictures) >= 3
    for picture in pictures:
        assert len(picture) < 60_000
        assert tf.io.decode_png(picture).shape[1] > 300
    printed = "".join(stored("stdout"))
    for text in (
        "largest difference of the outputs on a batch: 0.0",
        "a photo of surely a",
        "(95% ",
        "did you mean 'hedged'?",
    ):
        assert text in printed


def test_it_is_small_and_says_nothing_of_the_machine():
    assert (ROOT / "experiments/python_api.ipynb").stat().st_size < 200_000
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in NOTEBOOK["cells"])

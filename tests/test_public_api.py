"""`import xmodal`: the public names, each with an example that runs."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
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


def test_a_predictor_takes_texts_and_bytes(tiny_exported):
    exported = tiny_exported[1]
    picture = tf.io.encode_png(np.full((8, 8, 3), 200, np.uint8)).numpy()
    predictor = xmodal.Predictor(str(exported))
    as_items = [Item("a", b"a photo of a cat", is_text=True), Item("b", picture, is_text=False)]
    as_items.append(Item("c", picture, is_text=False, text=b"a photo of a cat"))
    as_given = ["a photo of a cat", picture, (picture, "a photo of a cat")]
    given, expected = ([*predictor(items)] for items in (as_given, as_items))
    assert [answer.item for answer in given] == ["a photo of a cat", "picture 2", "pair 3"]
    assert [answer.probabilities for answer in given] == [answer.probabilities for answer in expected]
    assert given[1].read == expected[1].read != ""


def test_a_predictor_is_asked_by_descriptions(tiny_exported):
    predictor = xmodal.Predictor(tiny_exported[1])
    other = predictor.with_answers({"red thing": "a red photo", "warm": ["a warm photo", "a photo of a oak"]})
    (answer,) = other(["a photo of a oak"])
    assert list(answer.probabilities) == ["red thing", "warm"]
    assert answer.label == "warm"
    for wrong, message in (
        ({"red": ["a red photo"]}, "1 answers leave nothing to choose; give two or more"),
        ({"red": ["a red photo"], "warm": []}, "nothing describes the answer 'warm'; give a text"),
    ):
        with pytest.raises(xmodal.UserError, match=message):
            predictor.with_answers(wrong)


def test_an_export_of_parts_that_do_not_fit_is_refused(folder):
    encoder = xmodal.text_encoder(str(folder / "bert"), sequence_length=16)
    text = xmodal.TextClassifier(
        encoder, keras.Model(encoder.model.input, keras.layers.Dense(3)(encoder.model.output))
    )

    def served(channels=3, classes=("cat", "dog"), names=("one", "two", "three")):
        image_model = keras.Sequential(
            [keras.Input((8, 8, channels)), keras.layers.Flatten(), keras.layers.Dense(2)]
        )
        return xmodal.ServedImages(
            image_model=image_model, bridge=xmodal.Bridge(classes), text=text, names=names
        )

    assert int(served().image_side) == 8
    for wrong, message in (
        ({"channels": 1}, r"takes \(None, 8, 8, 1\), and an export gives it RGB images"),
        ({"classes": ("a", "b", "c")}, r"the image model gives 2 logits, and there are 3 classes"),
        ({"names": ("one", "two")}, r"the text model gives 3 logits, and there are 2 names \(one, two\)"),
    ):
        with pytest.raises(xmodal.UserError, match=message):
            served(**wrong)


def test_an_encoder_is_named_as_in_a_run(tmp_path):
    with pytest.raises(xmodal.UserError, match="did you mean 'minilm_l6'"):
        xmodal.text_encoder("minilm", sequence_length=16)
    with pytest.raises(xmodal.UserError, match="the asset 'minilm_l6' is not available offline"):
        xmodal.text_encoder("minilm_l6", sequence_length=16, cache=tmp_path, offline=True)


def test_options_are_described_where_help_shows_them():
    text = xmodal.TextConfig.__doc__
    assert "text_epochs: Epochs of the text classifier. An integer in the range [1, " in text
    for name in vars(xmodal.ImageConfig()):
        assert f"\n    {name}: " in xmodal.ImageConfig.__doc__
    # There are no flags in a notebook.
    for group in (xmodal.ImageConfig, xmodal.TextConfig, xmodal.TrainConfig):
        assert "--" not in group.__doc__


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

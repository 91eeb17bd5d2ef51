"""The page of `python -m xmodal.demo`, as a process, in headless Chromium."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import chromium
import numpy as np
import pytest
import tensorflow as tf
import warm_python
from pages import ROOT, commands
from tiny_export import ANSWERS, tiny_listener
from tiny_sounds import tone, wav

from xmodal import demo
from xmodal.core.sums import write_sums
from xmodal.export.answer_files import items_of
from xmodal.export.predictor import Item, Predictor
from xmodal.export.saved_model import export_saved_model

# Imported when Python starts: writes down whom the process asks for anything.
WITNESS = """
import json, os, sys
def witness(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = arguments[1][0] if event == "socket.connect" else arguments[0]
        with open(os.environ["WITNESSED"], "a") as file:
            file.write(json.dumps(str(host)) + "\\n")
sys.addaudithook(witness)
"""
READY = "!!document.querySelector('#answer') && !!document.querySelector('input[type=file]')"
in_a_browser = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("witnessed") / "hosts"


@pytest.fixture(scope="module")
def url(tiny_exported, witnessed):
    _, exported = tiny_exported
    (witnessed.parent / "sitecustomize.py").write_text(WITNESS)
    paths = os.pathsep.join([str(witnessed.parent), str(ROOT)])
    (told,) = (command for command in commands() if command.startswith("python -m xmodal.demo --model="))
    process = subprocess.Popen(
        [sys.executable, *told.partition("=")[0].split()[1:], exported, "--port=0"],
        env=os.environ | {"PYTHONPATH": paths, "WITNESSED": str(witnessed)},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line.endswith(f" answers with {exported}; Ctrl-C ends it\n")
    yield line.partition(" ")[0]
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.fixture(scope="module")
def page(url, tmp_path_factory):
    page = chromium.Page(tmp_path_factory.mktemp("browser"))
    page.open(url, READY)
    yield page
    page.close()


def value(name: str) -> str:
    """A script that gives what stands in a box of the page, "" where there is none."""
    return f"document.querySelector('#{name} textarea, #{name} input')?.value ?? ''"


@in_a_browser
def test_a_picture_is_answered_with_the_sentence_that_was_read(page, tiny_exported, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (expected,) = Predictor(tiny_exported[1])(items_of([str(tmp_path / "a.png")])[0])
    page.upload("input[type=file]", tmp_path / "a.png")
    assert page.wait(value("read")) == expected.read
    shown = page.evaluate("document.querySelector('#answer').innerText")
    assert shown.split()[2] == expected.label
    for name in ANSWERS:
        assert re.search(rf"{name}\s+{expected.probabilities[name]:.0%}", shown)
    # The page shows the picture too.
    assert page.wait("document.querySelector('img')?.naturalWidth") == 50


@in_a_browser
def test_a_text_is_answered(page, url, tiny_exported):
    page.open(url, READY)
    (expected,) = Predictor(tiny_exported[1])([Item("", b"three red cats", True)])
    page.evaluate("document.querySelector('#text textarea').focus()")
    page.send("Input.insertText", text="three red cats")
    page.evaluate("document.querySelector('#ask').click()")
    page.wait(f"document.querySelector('#answer').innerText.includes('{expected.label}\\n')")
    assert page.evaluate(value("read")) == ""


@in_a_browser
def test_what_made_an_answer_is_shown(page, url, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(pixels).numpy())
    page.open(url, READY)
    page.upload("input[type=file]", tmp_path / "a.png")
    page.wait(value("read"))
    page.evaluate("document.querySelector('#why').click()")
    shown = "document.querySelector('#reason')?.innerText ?? ''"
    page.wait(f"({shown}).includes('Grad-CAM: deletion')", seconds=120)
    assert "Left out: a photo of" in page.evaluate(shown)
    sizes = "[...document.querySelectorAll('#reason img')].map(image => image.naturalWidth > 0)"
    assert page.wait(f"({sizes}).length === 3 && ({sizes}).every(Boolean)")


@in_a_browser
def test_several_pictures_are_answered_together_with_a_text(page, url, tiny_exported, tmp_path):
    rng = np.random.default_rng(1)
    paths = [tmp_path / "one.png", tmp_path / "two.png", tmp_path / "bad.png"]
    for path in paths[:2]:
        path.write_bytes(tf.io.encode_png(rng.integers(0, 255, (30, 30, 3), np.uint8)).numpy())
    paths[2].write_bytes(b"no picture")
    pairs = [(str(path), "a red cat") for path in paths[:2]]
    expected = [*Predictor(tiny_exported[1])(items_of([], pairs=pairs)[0])]
    page.open(url, READY)
    page.evaluate("document.querySelector('#text textarea').focus()")
    page.send("Input.insertText", text="a red cat")
    page.upload("input[type=file]", *paths)
    page.wait("document.querySelector('#table')?.innerText.includes('bad.png')")
    cells = "|".join(page.evaluate("document.querySelector('#table').innerText").split())
    for path, answer in zip(paths, expected, strict=False):
        shares = "|".join(f"{answer.probabilities[name]:.1%}" for name in ANSWERS)
        assert f"{path.name}|{answer.label}|{shares}" in cells
    assert "bad.png|not|an|image" in cells


def test_the_signatures_and_texts_to_try_are_shown(url):
    config = asked(url, "/config")[1]
    assert "`image_and_text` takes `image_bytes`, `text`" in config
    assert "a photo of an animal" in config
    names = {call["api_name"] for call in json.loads(config)["dependencies"]}
    assert {"answer_files", "answer_text"} <= names


@in_a_browser
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no picture", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1 << 10), "truncated or corrupt PNG"),
        (b"", "empty file"),
    ],
    ids=["text", "broken", "empty"],
)
def test_a_bad_upload_is_one_line(page, url, content, told, tmp_path):
    (tmp_path / "bad.png").write_bytes(content)
    page.open(url, READY)
    page.upload("input[type=file]", tmp_path / "bad.png")
    assert page.wait(value("problem")) == told


@in_a_browser
def test_a_large_upload_is_refused(page, url, tmp_path):
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(demo.UPLOAD_MB * 10**6 * 2)
    page.open(url, READY)
    page.upload("input[type=file]", tmp_path / "large.png")
    page.wait("document.body.innerText.includes('exceed the maximum allowed size of 20.0 Mb')")


def asked(url: str, path: str, host: str = "", value: object = None) -> tuple[int, str]:
    """Asks the server as any program could: the status and the body of its answer."""
    data = None if value is None else json.dumps(value).encode()
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    try:
        with urlopen(Request(url.rstrip("/") + path, data, headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def is_asked(part: dict) -> bool:
    """Tells whether it is the box for a file or a text, and not that for answers."""
    return part["type"] == "file" or part["props"].get("elem_id") == "text"


def told(url: str, box: str, given: object) -> str:
    """What the server answers to a value in a box of the page."""
    config = json.loads(asked(url, "/config")[1])
    number = next(part["id"] for part in config["components"] if part["type"] == box and is_asked(part))
    name = "answer_files" if box == "file" else "answer_text"
    (call,) = (call for call in config["dependencies"] if call["api_name"] == name)
    data = ["", "", ""] if number in call["inputs"] else []
    data[call["inputs"].index(number)] = given
    if box != "file":
        data[0] = None
    _, answer = asked(url, f"/gradio_api/call/{name}", value={"data": data})
    return asked(url, f"/gradio_api/call/{name}/{json.loads(answer)['event_id']}")[1]


@pytest.mark.parametrize(
    ("host", "statuses"),
    [
        ("", {200}),
        ("localhost", {200}),
        ("LOCALHOST:80", {200}),
        ("[::1]:7860", {200}),
        ("attacker.example", {400}),
        ("attacker.example:7860", {400}),
        ("127.0.0.1.attacker.example", {400}),
        ("127.0.0.1@attacker.example", {400}),
        # Gradio itself stumbles over it.
        ("[::1", {400, 500}),
    ],
)
def test_only_its_own_names_are_answered(url, host, statuses):
    assert asked(url, "/config", host)[0] in statuses


def test_no_address_is_fetched(url, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"http://127.0.0.1:{other.getsockname()[1]}/a.png"
        given = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        assert "event: error" in told(url, "file", [given])
        other.settimeout(0.5)
        with pytest.raises(TimeoutError):
            other.accept()


def test_the_server_keeps_to_the_limit_of_letters_too(url):
    assert "longer than 20,000 letters" in told(url, "textbox", "a" * (demo.MAX_CHARACTERS + 1))
    assert "longer than" not in told(url, "textbox", "a red cat")


def test_the_words_that_were_read_may_be_changed(url, tiny_exported):
    for words in ("three red cats", "one green oak"):
        (expected,) = Predictor(tiny_exported[1])([words])
        _, call = asked(url, "/gradio_api/call/answer_words", value={"data": [words, ""]})
        event = json.loads(call)["event_id"]
        _, body = asked(url, f"/gradio_api/call/answer_words/{event}")
        problem, _, answer, table = json.loads(body.partition("data: ")[2].splitlines()[0])
        assert not problem["visible"]
        assert answer["value"]["label"] == expected.label
        assert f"{expected.probability:.1%}" in table["value"]["data"][0]
    long = {"data": ["a" * (demo.MAX_CHARACTERS + 1), ""]}
    event = json.loads(asked(url, "/gradio_api/call/answer_words", value=long)[1])["event_id"]
    assert "longer than 20,000 letters" in asked(url, f"/gradio_api/call/answer_words/{event}")[1]


@in_a_browser
def test_neither_the_page_nor_its_server_asks_another_machine(page, url, witnessed):
    """The last test of the page: what it asked for until now."""
    assert {urlsplit(asked).netloc for asked in page.requests() if not asked.startswith("data:")} == {
        urlsplit(url).netloc
    }
    assert len(page.requests()) > 10
    assert page.problems() == []
    assert {json.loads(line) for line in witnessed.read_text().splitlines()} <= {"127.0.0.1", "localhost"}


def test_a_page_has_a_place_for_what_the_model_takes_alone(tmp_path):
    """In another process, since Gradio leaves event loops behind it."""
    shown = {}
    for taken in ("image_bytes", "text"):
        module = tf.Module()
        spec = tf.TensorSpec([None], tf.string, name=taken)
        module.answer = tf.function(lambda given: {"label": given}, input_signature=[spec])
        module.labels = tf.function(lambda: {"labels": tf.constant(["a"])}, input_signature=[])
        signatures = {"serving_default": module.answer, "labels": module.labels}
        tf.saved_model.save(module, str(tmp_path / taken / "1"), signatures=signatures)
        write_sums(tmp_path / taken / "1")
        predictor = Predictor(tmp_path / taken)
        shown[taken] = {
            "takes_pictures": predictor.takes_pictures,
            "noun": predictor.medium.noun,
            "takes_texts": predictor.takes_texts,
            "takes_pairs": predictor.takes_pairs,
            "can_be_asked": predictor.can_be_asked,
            "labels": predictor.labels,
            "signatures": predictor.signatures,
        }
    script = (
        "import json, sys; from types import SimpleNamespace; from xmodal.demo import page\n"
        "for takes in json.loads(sys.argv[1]):\n"
        "    medium = SimpleNamespace(noun=takes.pop('noun'))\n"
        "    parts = page(SimpleNamespace(**takes, medium=medium), 'model').get_config_file()['components']\n"
        "    print(*(part['props']['visible'] for part in parts if part['type'] in ('file', 'group')))\n"
    )
    done = subprocess.run(
        [warm_python.path(), "-c", script, json.dumps(list(shown.values()))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True False\nFalse True\n", done.stderr


@pytest.mark.slow
def test_a_page_of_sounds_takes_a_recording(tmp_path):
    """In another process, since Gradio leaves event loops behind it."""
    exported = export_saved_model(tiny_listener(tmp_path / "preset"), tmp_path / "listener")
    recorded = tmp_path / "recorded.wav"
    recorded.write_bytes(wav(tone(1500)))
    (expected,) = Predictor(exported)([recorded.read_bytes()])
    script = (
        "import sys; from xmodal.demo import page; from xmodal.export.predictor import Predictor\n"
        "blocks = page(Predictor(sys.argv[1]), 'model')\n"
        "parts = [part for part in blocks.get_config_file()['components'] if part['type'] == 'audio']\n"
        "print([(part['props']['visible'], part['props']['sources']) for part in parts])\n"
        "(answer,) = (call for call in blocks.fns.values() if call.api_name == 'answer_recording')\n"
        "print([update['value'] for update in answer.fn(sys.argv[2], '', '')][2])\n"
        "print([update['value'] for update in answer.fn(None, '', '')][0])\n"
    )
    done = subprocess.run(
        [warm_python.path(), "-c", script, str(exported), str(recorded)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-3:] == ["[(True, ['microphone'])]", expected.read, "empty"], done.stderr


def test_a_page_without_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert demo.main(["demo", "--model=nowhere"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the page needs the package gradio (")
    assert told.endswith("); pip install -c constraints.txt -e '.[demo]'\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert demo.main(["demo", "--model=nowhere", f"--port={port}"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: --host=127.0.0.1 --port={port} cannot be listened at (")
    assert told.endswith("; choose others, such as --port=0\n")

"""The real TensorBoard on what two runs left, every page of it looked at in a real browser.

`pytest -m slow tests/end_to_end/test_tensorboard.py --basetemp=DIR` leaves in DIR how the pages looked.
"""

import base64
import re
import subprocess
import sys
from dataclasses import replace

import chromium
import numpy as np
import pytest
import tensorflow as tf
from tiny_export import tiny_served
from tiny_run import FLAGS, tiny_run

from xmodal import report
from xmodal.export import saved_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium on this machine"),
]
# All that a page shows, within the shadow roots of its elements and its frames too.
SHOWN = """(function shown(node) {
    let text = "";
    const walk = document.createTreeWalker(node, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const here = walk.currentNode, parent = here.parentElement;
        if (here.nodeType === Node.TEXT_NODE) {
            if (parent && !["STYLE", "SCRIPT"].includes(parent.tagName)) text += here.textContent + " ";
        } else if (here.shadowRoot) text += shown(here.shadowRoot);
        else if (here.contentDocument) text += shown(here.contentDocument);
    }
    return text;
})(document)"""
# Elements of a kind, within the shadow roots too.
ALL = """(function all(node, selector) {
    const inside = [...node.querySelectorAll("*")].filter(one => one.shadowRoot);
    return [...node.querySelectorAll(selector), ...inside.flatMap(one => all(one.shadowRoot, selector))];
})(document, "%s")"""


def picture(number):
    pixels = np.full((16, 16, 3), 20 * number, np.uint8)
    return tf.io.encode_png(pixels).numpy()


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """Two runs in one folder, the first one with an export, pictures and points."""
    folder = tmp_path_factory.mktemp("runs")
    exported = saved_model.export_saved_model(tiny_served(folder / "preset"), folder / "saved_models")
    items = tuple(
        report.GalleryItem(
            picture(number), f"{number}.png", "cat", "cat", 0.9, "a photo of surely a cat", kind
        )
        for number, kind in enumerate(("right", "wrong", "unsure"))
    )
    points = report.Points(
        np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32),
        ("cat",) * 6 + ("dog",) * 6,
        tuple(f"a photo number {number}" for number in range(12)),
        (*map(picture, range(10)), b"", b""),
    )
    plots = (report.Plot("Accuracy by examples", "examples", "%", (report.Series("a", (1, 2), (3, 4)),)),)
    for name, right, more in (
        (
            "first",
            90,
            {"gallery": items, "points": points, "plots": plots, "facts": {"export": str(exported)}},
        ),
        ("second", 70, {}),
    ):
        flags = FLAGS.format(folder=f"runs/{name}", epochs=right // 10)
        run = replace(tiny_run(right, 3), flags=flags, **more)
        report.write_tensorboard(run, folder / "logs" / name / "tensorboard")
    return folder / "logs"


@pytest.fixture(scope="module")
def address(logdir):
    words = ["--logdir", str(logdir), "--host", "localhost", "--port", "0", "--load_fast", "false"]
    command = [sys.executable, "-m", "tensorboard.main", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as board:
        assert board.stderr is not None
        found = next(filter(None, (re.search(r"http://localhost:\d+/", line) for line in board.stderr)))
        yield found[0]
        board.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    page = chromium.Page(tmp_path_factory.mktemp("profile"))
    page.send(
        "Emulation.setDeviceMetricsOverride", width=1400, height=1000, deviceScaleFactor=1, mobile=False
    )
    yield page
    page.close()


def look(browser, address, name, *told, tmp_path_factory):
    """Opens a page of TensorBoard, waits until it tells all of this, and keeps and returns how it looks."""
    browser.send("Page.navigate", url="about:blank")
    browser.send("Page.navigate", url=f"{address}#{name}")
    wanted = " && ".join(f"text.includes({text!r})" for text in told)
    browser.wait(f"(text => {wanted})({SHOWN}.replaceAll(/\\s+/g, ' '))", 60)
    png = base64.b64decode(browser.send("Page.captureScreenshot", format="png")["data"])
    (tmp_path_factory.getbasetemp() / f"tensorboard_{name.partition('&')[0]}.png").write_bytes(png)
    assert browser.problems() == []
    return tf.io.decode_png(png).numpy()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timeseries", ["headline", "test accuracy", "images", "first/tensorboard/results"]),
        ("scalars", ["headline", "test accuracy", "images"]),
        ("hparams", ["runs/first", "runs/second", "epochs", "headline/accuracy", "0.9000", "0.7000"]),
        ("pr_curves", ["text/cat", "text/<b>dog</b>"]),
        ("text", ["--experiment=vgg_to_bert", "VGG to BERT (seed 0)"]),
    ],
)
def test_a_page_tells_what_it_should(browser, address, name, told, tmp_path_factory):
    look(browser, address, name, *told, tmp_path_factory=tmp_path_factory)


def test_images_are_there(browser, address, tmp_path_factory):
    told = ("calibration/text", "confusion/text", "pictures/right", "plots/Accuracy by examples")
    # Without a filter, some of the tags are folded away.
    look(browser, address, "images&tagFilter=.*", *told, tmp_path_factory=tmp_path_factory)
    browser.wait(f"{ALL % 'img'}.filter(one => one.naturalWidth > 50).length >= 3")


def test_the_graph_is_that_of_the_export(browser, address, tmp_path_factory):
    look(browser, address, "graphs", "Main Graph", "sentences", tmp_path_factory=tmp_path_factory)
    assert browser.evaluate(f"{ALL % 'g.node'}.length") > 5


def test_the_projector_shows_every_point(browser, address, tmp_path_factory):
    look(browser, address, "projector", "12", "Dimension: 5", "label", tmp_path_factory=tmp_path_factory)

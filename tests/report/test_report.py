"""Reports are made from real results and read back as their readers would: a browser, TensorBoard, jq."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from tiny_run import tiny_run

from xmodal import report
from xmodal.core.errors import UserError
from xmodal.core.formatting import printable
from xmodal.data.audit import DataReport
from xmodal.evaluation.intervals import compare_paired
from xmodal.evaluation.metrics import evaluate
from xmodal.evaluation.part_curves import PartCurves
from xmodal.report import figures, markup
from xmodal.report.page import html
from xmodal.report.records import Explained, Explanation, Ingredient
from xmodal.training.progress import History
from xmodal.transfer.weights import LayerTransfer, TransferReport

SCRIPT = "<script>alert('x')</script>"
# The second one is no formula, and would be a broken one.
NAMES = ("cat", r"$\frac{$", SCRIPT)
# As the operating system hands over a file name that is no UTF-8.
BROKEN = b"train/\xff\x07.png".decode(errors="surrogateescape")
FLAGS = """\
--experiment=vgg_to_bert
--export
--nooffline
--seed=3
--rate=1e-3
--template=a {}
--template=b {}
"""


def some_result(name, right, names=NAMES, n=100):
    labels = np.arange(n) % len(names)
    answers = np.where(np.arange(n) < right, labels, (labels + 1) % len(names))
    probabilities = np.full((n, len(names)), 0.1 / (len(names) - 1))
    probabilities[np.arange(n), answers] = 0.9
    return evaluate(name, probabilities, labels, names, note=f"note of {name} & co", seconds=1.5)


def some_picture(kind="right", id="test/1.png", side=4, encode=tf.io.encode_png):
    pixels = np.random.default_rng(side).integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
    predicted = "cat" if kind == "right" else SCRIPT
    sentence = f"a photo of $5^, surely {SCRIPT}"
    return report.GalleryItem(encode(pixels).numpy(), id, "cat", predicted, 0.9, sentence, kind)


@pytest.fixture(scope="module")
def run():
    right = np.arange(100)
    layers = (
        LayerTransfer("block1_conv1", "block1_conv1", "copied", "same name and shapes", 1792, "ab" * 32),
        LayerTransfer("block3_conv4", None, "grown", "identity kernel, zero bias", 590080, "cd" * 32),
    )
    return report.Run(
        experiment="vgg_to_bert",
        title="VGG16 to BERT",
        seed=3,
        flags=FLAGS,
        command=f"python -m xmodal.run --flagfile='{SCRIPT}/config.cfg'",
        data=DataReport(
            counts={"train": dict.fromkeys(NAMES, 1200), "test": dict.fromkeys(NAMES, 40)},
            dropped=tuple((f"train/{i}.jpg", "truncated JPEG") for i in range(25)),
            duplicates=(("train/a.png", BROKEN),),
            leaked=(("train/b.png", f"test/{SCRIPT}.png"),),
            warnings=(f"class {SCRIPT} is small",),
        ),
        results={
            "image_only": replace(some_result("image_only", 98), ece_uncalibrated=0.25),
            "text": some_result("text", 97),
            "no_transfer": some_result("no_transfer", 60),
        },
        gains=(
            compare_paired(right < 98, right < 60),
            compare_paired(right < 97, right < 98, what="reading instead of looking"),
        ),
        seconds={"data": 3.25, "image classifier": 131.0},
        transfer=TransferReport("vgg16", "vgg19", "identity", layers, ("predictions",), 0.0),
        histories=(
            History(
                "image classifier",
                tuple(
                    {
                        "epoch": epoch,
                        "seconds": 2.0,
                        "loss": 1 / (epoch + 1),
                        "accuracy": 0.5 + epoch / 10,
                        "val_loss": 1.5 / (epoch + 1),
                        "val_accuracy": 0.4 + epoch / 10,
                    }
                    for epoch in range(4)
                ),
            ),
            History('text "head"', ({"epoch": 0, "seconds": 1.0, "loss": 0.5, "accuracy": 0.75},)),
        ),
        gallery=(
            some_picture("right", encode=tf.io.encode_jpeg, side=600),
            some_picture("wrong", f"test/{SCRIPT}.png"),
            some_picture("wrong", BROKEN),
            some_picture("unsure"),
        ),
        facts={"temperature": 0.73456789, "distinct sentences": 1234, "export": "saved_models/1"},
        headline="text",
        tables=(report.Table(f"Rows {SCRIPT}", ("count", "accuracy"), ((20, "61.0%"), (1000, 0.98765))),),
        plots=(
            report.Plot(
                f"Accuracy {SCRIPT}",
                "examples",
                "accuracy in %",
                (
                    report.Series(SCRIPT, (20, 1000), (50.0, 90.0), (40.0, 88.0), (60.0, 92.0)),
                    *(report.Series(f"line {number}", (20, 1000), (1.0, 2.0)) for number in range(6)),
                ),
                log_x=True,
            ),
        ),
        further_data={
            f"documents {SCRIPT}": DataReport({"test": {"a": 7777}}, (), (), (), ("an odd document",))
        },
    )


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text that is not style."""

    VOID = ("meta", "link", "img", "br", "path", "use")

    def __init__(self, source):
        super().__init__()
        self.elements = []
        self.text = ""
        self.open = []
        self.feed(source)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"
            self.text += " "

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(run):
    return report.html(run)


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_page_is_whole_and_self_contained(source, page):
    assert page.open == []
    assert source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.all("script") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    links = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster")
    ]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\((?!#)", source)
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_page_escapes_what_comes_from_outside(source, page):
    assert SCRIPT not in source
    assert page.text.count(SCRIPT) > 5
    assert "train/\ufffd\ufffd.png" in page.text
    source.encode()  # no lone surrogate


def test_page_tells_the_answer_first(run, page):
    told = page.text
    lead = "Transfer helped: +38.0 points"
    assert told.index(lead) < told.index("97.0% of 100 answered rightly by text") < told.index("Results")
    assert "Reading instead of looking made no difference" in told
    for name, result in run.results.items():
        assert name in told
        assert result.note in told
        assert f"{100 * result.ci95[0]:.1f}% to {100 * result.ci95[1]:.1f}%" in told
    assert "0.250 → " in told


def test_page_shows_every_picture(run, page):
    pictures = page.all("img")
    assert len(pictures) == len(run.gallery)
    assert sorted(picture.get("class", "") for picture in pictures) == ["", "small", "small", "small"]
    assert f"test/{SCRIPT}.png: cat, answered {SCRIPT}" in [picture["alt"] for picture in pictures]
    # Shrunk and encoded anew, with the sides in proportion.
    large = next(picture for picture in pictures if "class" not in picture)
    assert large["src"].startswith("data:image/jpeg;base64,")
    assert (large["width"], large["height"]) == ("320", "319")
    assert page.text.count(f"“a photo of $5^, surely {SCRIPT}”") == len(run.gallery)


def test_page_has_plots_tables_and_all_the_rest(run, page):
    labels = [plot["aria-label"] for plot in page.all("svg")]
    assert labels[0].endswith("image_only 98.0%; text 97.0%; no_transfer 60.0%")
    assert [label.split(" by ")[0] for label in labels[2:]] == [
        "Confidence of text against its accuracy",
        "Precision over recall of the decisions for all classes, and the mean average precision",
        "loss of the image classifier",
        "accuracy of the image classifier",
        'loss of the text "head"',
        'accuracy of the text "head"',
    ]
    assert len(page.all("table")) == len(page.all("caption")) == 8
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    for words in (
        "4 epochs in 8.0 s; validation accuracy 70.0% at the end, at best 70.0% after epoch 4.",
        "1 layer copied (1,792 parameters), 1 layer grown (590,080 parameters).",
        "vgg19 gave exactly the output of vgg16: the largest difference on a batch was 0.0.",
        "Not taken over from the source: predictions.",
        "Left out, because unreadable: 25",
        "and 5 more; metrics.json lists them all",
        "2 min 11 s",
        "0.7346",
        "1,234",
        report.hardware()["cpu"],
        tf.__version__,
        run.command,
        "--template=b {}",
    ):
        assert words in page.text


def test_page_shows_tables_plots_and_further_data(page, source):
    assert "0.9877" in page.text
    assert "61.0%" in page.text
    assert f"documents {SCRIPT}" in page.text
    assert "7,777" in page.text
    assert "2 warnings about the data" in page.text
    assert f"Accuracy {SCRIPT}" in [svg.get("aria-label") for svg in page.all("svg")]
    assert "line 5" in page.text
    # Eight lines and bands, and not one colour that only matplotlib knows.
    assert "#0a0b0" not in source


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: report.Table("t", ("a", "b"), ((1,),)), "rows must have 2 cells"),
        (lambda: report.Series("s", (1.0, 2.0), (1.0,)), "must have 2 of each"),
        (lambda: report.Series("s", (1.0,), (1.0,), low=(0.0,)), "both ends"),
    ],
)
def test_tables_and_series_are_rectangular(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_page_without_the_optional_parts(run):
    bare = replace(
        run,
        results={name: replace(result, seconds=None) for name, result in run.results.items()},
        data=DataReport({}, (), (), (), ()),
        gains=(),
        transfer=None,
        histories=(),
        gallery=(),
        facts={},
        seconds={},
        headline=None,
    )
    page = Page(report.html(bare))
    assert page.open == []
    assert "98.0% of 100 answered rightly by image_only" in page.text
    assert "No problem was found." in page.text
    # No result tells its seconds: no column for them, but that of the stages.
    assert [report.html(shown).count(">time</th>") for shown in (run, bare)] == [2, 1]
    assert {"#pictures", "#training", "#transfer"}.isdisjoint(link["href"] for link in page.all("a"))


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0.00123456, "differed from that of vgg16 by at most 0.00123"), (None, "were not compared")],
)
def test_page_does_not_claim_more_than_the_transfer_shows(run, difference, words):
    transfer = replace(run.transfer, max_abs_difference=difference)
    told = Page(report.html(replace(run, transfer=transfer))).text
    assert words in told
    assert "exactly" not in told


@pytest.mark.parametrize(("count", "by_chance"), [(4, ""), (5, "0.25"), (7, "0.35"), (40, "2")])
def test_of_many_differences_chance_has_a_share(run, count, by_chance):
    several = replace(run, gains=run.gains[:1] * count)
    told = f"of {count} differences that are none, {by_chance} would be told as help or hurt by chance"
    in_page = told.replace("of", "Of", 1)
    shown = told in report.console_table(several, width=200).replace("\n", " "), in_page in html(several)
    assert shown == (bool(by_chance), bool(by_chance))


def test_many_classes_become_pairs_and_ranges(run):
    names = tuple(f"class {i}" for i in range(41))
    result = some_result("text", 79, names, n=82)
    counts = {"train": {name: 10 + i for i, name in enumerate(names)}}
    wide = replace(run, results={"text": result}, data=replace(run.data, counts=counts))
    page = Page(report.html(wide))
    assert not [table for table in page.all("table") if table["class"] == "matrix"]
    assert len(page.elements) < 41 * 41
    assert "class 38 class 39 1" in page.text
    assert "train 1,230 41 10 50" in page.text


def test_metrics_hold_the_contract(run, tmp_path):
    results = run.results | {"text": replace(run.results["text"], log_loss=math.nan, seconds=np.float32(2))}
    report.write(replace(run, results=results), tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert set(metrics) >= {"experiment", "seed", "data", "results", "seconds", "hardware", "versions"}
    assert list(metrics["results"]) == ["image_only", "text", "no_transfer"]
    result = run.results["image_only"]
    assert metrics["results"]["image_only"] == {
        "accuracy": 0.98,
        "n": 100,
        "ci95": list(result.ci95),
        "loss": result.log_loss,
        "macro_f1": result.macro_f1,
        "ece": result.ece,
        "ece_uncalibrated": 0.25,
        "confusion": [list(row) for row in result.confusion],
        "class_names": list(NAMES),
        "reliability": {
            "count": [0] * 13 + [100, 0],
            "confidence": [None] * 13 + [pytest.approx(0.9), None],
            "accuracy": [None] * 13 + [0.98, None],
        },
        "average_precision": result.precision_recall.mean_average_precision,
        "note": "note of image_only & co",
        "seconds": 1.5,
    }
    assert metrics["results"]["text"]["loss"] is None
    assert metrics["results"]["text"]["seconds"] == 2
    assert metrics["data"]["counts"]["test"]["cat"] == 40
    assert len(metrics["data"]["dropped"]) == 25
    assert metrics["gains"][0]["ci95"] == list(run.gains[0].ci95)
    assert metrics["facts"] == run.facts
    assert metrics["hardware"]["cores"] >= 1
    assert metrics["versions"]["tensorflow"] == tf.__version__


def test_write_leaves_whole_files(run, tmp_path):
    report.write(run, tmp_path / "run")
    report.write(run, tmp_path / "run")
    names = {"metrics.json", "metrics.jsonl", "transfer.json", "report.html", "examples"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    assert lines[0] == {"stage": "image classifier"} | run.histories[0].epochs[0]
    assert lines[4]["stage"] == 'text "head"'
    transfer = json.loads((tmp_path / "run" / "transfer.json").read_text())
    assert transfer["max_abs_difference"] == 0.0
    assert transfer["parameters"] == {"copied": 1792, "resized": 0, "grown": 590080, "left": 0}
    assert [layer["action"] for layer in transfer["layers"]] == ["copied", "grown"]
    assert transfer["layers"][1]["sha256"] == "cd" * 32
    # Those that are answered rightly come first, as they were read.
    right = [item.png for item in run.gallery if item.kind == "right"]
    first, *others = sorted((tmp_path / "run" / "examples").iterdir(), key=lambda path: int(path.stem))
    assert first.name == "1.jpg"
    assert first.read_bytes() == right[0]
    assert len([first, *others]) == min(10, len(run.gallery))


def test_write_says_what_stands_in_its_way(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match=r"json' cannot be made: a file stands in its way"):
        report.write(run, tmp_path / "run")


def test_console_table(run):
    table = report.console_table(run, width=100)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "VGG16 to BERT (seed 3)"
    row = next(line for line in lines if line.startswith("image_only"))
    low, high = run.results["image_only"].ci95
    assert row.split()[1:5] == ["98.0%", f"{100 * low:.1f}%", "to", f"{100 * high:.1f}%"]
    assert row.split()[-4:] == ["0.250", "->", f"{run.results['image_only'].ece:.3f}", "1.5"]
    assert len({len(line) for line in lines[2:7]}) == 1, "columns are not aligned"
    assert table.index("transfer helped: +38.0 points") > table.index("no_transfer")
    assert re.search(r"all stages +2 min 14 s$", table)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_console_table_fits_narrow_terminals(run, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    table = report.console_table(run)
    assert max(map(len, table.splitlines())) <= width
    assert "accuracy" in table
    assert "95% interval" in table


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


@pytest.fixture(scope="module")
def board(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    report.write_tensorboard(replace(run, title="an earlier title"), folder)
    report.write_tensorboard(run, folder)
    return folder


def scalars(accumulator: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    plugins = {
        tag: accumulator.SummaryMetadata(tag).plugin_data.plugin_name for tag in accumulator.Tags()["tensors"]
    }
    return {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in accumulator.Tensors(tag)]
        for tag, plugin in plugins.items()
        if plugin == "scalars"
    }


def test_tensorboard_lays_training_and_validation_over_each_other(board):
    train, validation = (scalars(events(board / name)) for name in ("train", "validation"))
    assert set(train) == {
        f"{s}/{q}" for s in ("image classifier", 'text "head"') for q in ("loss", "accuracy")
    }
    assert set(validation) == {"image classifier/loss", "image classifier/accuracy"}
    assert [step for step, _ in train["image classifier/loss"]] == [0, 1, 2, 3]
    assert train["image classifier/loss"][3][1] == pytest.approx(1 / 4)
    assert validation["image classifier/accuracy"][3][1] == pytest.approx(0.7)


def test_tensorboard_shows_results_pictures_and_flags(run, board):
    results = events(board / "results")
    assert scalars(results) == {
        f"test accuracy/{name}": [(0, pytest.approx(result.accuracy))] for name, result in run.results.items()
    } | {
        "headline/accuracy": [(0, pytest.approx(run.results["text"].accuracy))],
        "headline/log loss": [(0, pytest.approx(run.results["text"].log_loss))],
    }
    for tag, count in {
        "confusion/text": 1,
        "calibration/image_only": 1,
        "calibration/text": 1,
        "pictures/right": 1,
        "pictures/wrong": 2,
        "pictures/unsure": 1,
    }.items():
        (event,) = results.Tensors(tag)
        width, height, *images = tf.make_ndarray(event.tensor_proto)
        assert len(images) == count
        pixels = tf.io.decode_png(images[0]).numpy()
        assert pixels.shape == (int(height), int(width), 3)
        assert pixels.std() > 10, "nothing is drawn"
    (flags,), (table,) = (
        [tf.make_ndarray(event.tensor_proto).item().decode() for event in results.Tensors(tag)]
        for tag in ("flags", "results")
    )
    assert flags.splitlines() == [f"    {line}" for line in FLAGS.splitlines()]
    assert table.splitlines()[0] == "    VGG16 to BERT (seed 3)"
    started = results.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    values = parse_session_start_info_plugin_data(started).hparams
    assert {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()} == {
        "experiment": "vgg_to_bert",
        "export": True,
        "offline": False,
        "seed": 3,
        "rate": 0.001,
        "template": "a {}, b {}",
    }


def test_tensorboard_draws_precision_over_recall(run, board):
    results = events(board / "results")
    for name in NAMES:
        tag = f"text/{printable(name)}/pr_curves"
        (event,) = results.Tensors(tag)
        hits, misses, _, missed, precision, recall = tf.make_ndarray(event.tensor_proto)
        assert results.SummaryMetadata(tag).plugin_data.plugin_name == "pr_curves"
        # From a threshold of 0, which picks out everything, to one that nothing reaches.
        assert hits[0] + misses[0] == run.results["text"].n
        assert (recall[0], recall[-1], missed[0]) == (1, 0, 0)
        assert precision[0] == pytest.approx(
            run.results["text"].precision_recall.positives[0] / 100, abs=0.011
        )


def test_the_projector_finds_vectors_labels_and_pictures(run, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [tf.io.encode_png(np.full((9, 5, 3), 40 * n, np.uint8)).numpy() for n in range(5)] + [b"", b""]
    vectors = rng.normal(size=(7, 3)).astype(np.float32)
    words = (*(f"photo {n}" for n in range(5)), "a\tcat", "a dog")
    points = report.Points(vectors, ("cat",) * 6 + ("dog",), words, tuple(pictures))
    report.write_tensorboard(replace(run, points=points), tmp_path / "board")
    # Wherever the folder is moved to.
    (tmp_path / "board").rename(tmp_path / "moved")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "moved"))
    multiplexer.Reload()
    context = TBContext(
        logdir=str(tmp_path / "moved"),
        data_provider=MultiplexerDataProvider(multiplexer, str(tmp_path / "moved")),
    )
    plugin = ProjectorPlugin(context)
    plugin._update_configs()
    (config,) = (config for name, config in plugin._configs.items() if name == "results")
    (shown,) = config.embeddings
    tensor = plugin.readers["results"].get_tensor(shown.tensor_name)
    np.testing.assert_array_equal(tensor, vectors)
    folder = tmp_path / "moved" / "results"
    lines = (folder / shown.metadata_path).read_text().splitlines()
    assert lines[0] == "label\twords\tkind"
    assert lines[1] == "cat\tphoto 0\timage"
    assert lines[6:] == ["cat\ta\ufffdcat\ttext", "dog\ta dog\ttext"]
    sprite = tf.io.decode_png((folder / shown.sprite.image_path).read_bytes()).numpy()
    side, _ = shown.sprite.single_image_dim
    assert sprite.shape == (3 * side, 3 * side, 3)
    assert sprite[side // 2, 2 * side + 1].tolist() == [80, 80, 80], "the third picture"
    assert sprite[side + 1, 1].tolist() == [120, 120, 120], "the fourth begins the second row"


def test_points_need_as_many_labels_as_vectors():
    with pytest.raises(ValueError, match=r"points must have 2 of each\. Received: 1"):
        report.Points(np.zeros((2, 3)), ("cat",), ("a", "b"), (b"", b""))


def test_tensorboard_replaces_and_leaves_other_files_alone(run, board):
    (board / "train" / "mine.txt").write_text("mine")
    report.write_tensorboard(replace(run, histories=(), gallery=()), board)
    assert scalars(events(board / "train")) == {}
    assert "pictures/wrong" not in events(board / "results").Tags()["tensors"]
    assert (board / "train" / "mine.txt").read_text() == "mine"


def test_plots_leave_no_trace_in_matplotlib(run):
    import matplotlib

    before = dict(matplotlib.rcParams)
    assert report.html(run) == report.html(run)
    assert dict(matplotlib.rcParams) == before


def test_names_in_any_script(run, tmp_path):
    names = ("猫", "собака", "قطة")
    item = replace(run.gallery[0], truth="猫", predicted="قطة", sentence="这是一只猫的照片")
    told = replace(run, results={"text": some_result("text", 70, names)}, gallery=(item,))
    # Drawn without a warning about glyphs, whichever fonts there are.
    report.write_tensorboard(told, tmp_path)
    page = Page(report.html(told))
    assert item.sentence in page.text
    assert all(name in page.text for name in names)


def test_a_run_without_labels_shows_answers_and_measures_nothing(run, tmp_path):
    item = replace(run.gallery[0], truth="", kind="unknown")
    told = replace(run, results={}, gains=(), headline=None, gallery=(item,))
    page = Page(report.html(told))
    assert item.predicted in page.text
    assert "it is" not in page.text
    assert "Mistakes" not in page.text
    report.write_tensorboard(told, tmp_path)
    shown = report.console_table(told, width=60)
    assert "accuracy" not in shown
    line = next(line for line in shown.splitlines() if line.startswith(item.id[:5]))
    assert item.predicted in line
    assert f"{item.probability:.0%}" in line
    assert max(map(len, shown.splitlines())) <= 60
    assert "## Figures" not in report.card(replace(told, experiment="names_to_answers"), [], "ask")


def test_the_headline_is_one_of_the_results(run):
    with pytest.raises(ValueError, match=r"headline must be one of .*Received: 'txet'"):
        replace(run, headline="txet")


def test_a_card_tells_figures_data_licences_and_limits(run):
    made_from = [
        Ingredient("dataset", "folder:a|b", ""),
        Ingredient("text_encoder", "minilm_l6", "Apache-2.0"),
    ]
    card = report.card(run, made_from, "python -m xmodal.predict --model=saved_models/a/1 FILE_OR_FOLDER")
    assert "    python -m xmodal.predict --model=saved_models/a/1 FILE_OR_FOLDER\n" in card
    assert "| text | 97.0% |" in card
    assert r"| --dataset | folder:a\|b | not known to xmodal: ask where it came from |" in card
    assert r"| --text\_encoder | minilm\_l6 | Apache-2.0 |" in card
    assert "| train | " in card
    assert "    --template=b {}" in card
    # What comes from outside is no markup, but where it stands as code.
    prose = [line for line in card.splitlines() if not line.startswith("    ")]
    assert not any(SCRIPT in line for line in prose)
    assert any(r"\<script\>" in line for line in prose)
    assert re.findall(r"^## (.*)", card, re.MULTILINE) == [
        "Use",
        "Figures",
        "Data",
        "Made from",
        "Limits",
        "How it was made",
    ]


def test_a_record_replaces_a_record_and_nothing_else(run, tmp_path):
    path = tmp_path / "results" / "a.json"
    report.record(run, path, 1.5)
    report.record(run, path, 3601.0)
    assert json.loads(path.read_text())["wall_seconds"] == 3601
    path.write_text('{"wall_seconds": "mine"}\n')
    with pytest.raises(UserError, match=r"a.json' is there already; choose another name, or add `overwrite`"):
        report.record(run, path, 1.5)
    report.record(run, path, 1.5, overwrite=True)
    assert json.loads(path.read_text())["wall_seconds"] == 1.5


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("experiments/results/*.json")))
def test_recorded_runs_are_known_as_such(path):
    assert report.RECORD.search(path.read_bytes())


@pytest.mark.parametrize(("epochs", "diverged"), [(2, False), (2, True), (0, True)])
def test_a_training_that_got_no_better_or_diverged_is_told(run, epochs, diverged):
    worse = {"seconds": 1.0, "loss": 2.0, "accuracy": 0.5, "val_loss": 3.0, "val_accuracy": 0.4}
    entries = tuple({"epoch": epoch, **worse} for epoch in range(epochs))
    history = History("too fast", entries, {"val_loss": 1.0, "val_accuracy": 0.6}, diverged)
    told = Page(report.html(replace(run, histories=(history,)))).text
    assert "no epoch was better than what it began with, and that was kept" in told
    assert ("the next one gave numbers that are not finite, and ended it" in told) is diverged


def test_a_start_that_is_not_finite_is_not_what_was_kept():
    entry = {"val_loss": 2.0, "val_accuracy": 0.5}
    assert History("", (entry,), {"val_loss": math.nan, "val_accuracy": 0.1}).best == entry


def luminance(colour: str) -> float:
    """Of "#rrggbb": https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(*colours: str) -> float:
    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


def mixed(colour: str, share: float, other: str) -> str:
    pairs = [(int(colour[start : start + 2], 16), int(other[start : start + 2], 16)) for start in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * two):02x}" for one, two in pairs)


@pytest.mark.parametrize("theme", re.findall(r"--paper.*?--shade: \d+%", markup.COLOURS, re.DOTALL))
def test_all_text_has_a_contrast_of_seven_to_one(theme):
    colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
    shade = int(re.search(r"--shade: (\d+)%", theme)[1]) / 100
    for name in ("ink", "quiet", "first", "right", "wrong", "unsure"):
        assert contrast(colours[name], colours["paper"]) >= 7, name
    # A cell of the confusion matrix that holds all of its row.
    for name in ("first", "wrong"):
        assert contrast(colours["ink"], mixed(colours[name], shade, colours["card"])) >= 7, name
    assert contrast(colours["quiet"], colours["card"]) >= 7


def test_numbers_of_a_column_have_equally_many_decimals(run):
    rows = (("a", 0.3439, "1"), ("b", 0.88, "-"), ("c", 3, "x"))
    table = report.Table("Mixed", ("", "loss", "what"), rows)
    shown = report.html(replace(run, tables=(table,)))
    assert re.findall(r">(\d\.\d+)<", shown[shown.index("Mixed") : shown.index("Mixed") + 2000]) == [
        *("0.344", "0.880", "3.000")
    ]


def test_a_logarithmic_axis_has_plain_numbers():
    series = report.Series("with", (5.0, 20.0, 360.0), (84.0, 94.0, 99.0))
    drawing = figures.lines(report.Plot("Worth", "images a class", "accuracy", (series,), log_x=True))
    assert "mathdefault" not in drawing
    assert [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawing)][:3] == ["5", "20", "360"]


def test_what_made_the_answers_is_shown():
    curves = PartCurves(0.2, 0.9, 0.5, 0.6)
    maps = (Explanation("occlusion", np.eye(8), curves), Explanation("Grad-CAM", np.ones((8, 8)), curves))
    words = Explanation("integrated gradients", np.array([0.5, -0.25]), curves, difference=0.26)
    picture = np.full((40, 60, 3), 100, np.uint8)
    row = Explained("a.png", "<b>dog</b>", 0.9, picture, maps, ("<i>", "cat"), (words,), truth="cat")
    text = html(replace(tiny_run(90, 1), explained=(row,)))
    assert "What made the answers" in text
    assert "<b>dog" not in text
    assert "<i>" not in text
    assert "a.png: 90% &lt;b&gt;dog&lt;/b&gt; (it is cat)" in text
    assert text.count("data:image/png;base64,") == 3
    assert "Occlusion: deletion 0.20 (random 0.50), insertion 0.90 (random 0.60)" in text
    assert "the words sum to 25.0 of 26.0 points" in text
    # The word that speaks against the answer has the other colour, half as strong.
    assert re.search(r"-25\.0 points[^>]*--wrong, #932a1f\) 30%[^>]*>cat<", text)
    assert "What made the answers" not in html(tiny_run(90, 1))

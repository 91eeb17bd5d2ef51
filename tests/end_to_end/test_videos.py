"""A run on videos, from animations to an export that answers them."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from tiny_data import save_tiny_data
from tiny_videos import animation, moving, save_tiny_videos

from xmodal.export.predictor import Item, Predictor
from xmodal.export.why import why

FLAGS = [
    "--flagfile=vgg_to_bert.cfg",
    "--dataset=videos:videos",
    r"--group_pattern=(camera\d)",
    "--frames=4",
    "--augment=shift,flip",
    "--nobaseline",
    "--explained=1",
    "--output_dir=runs/videos",
    "--saved_models_dir=saved_models",
]


def command(module, *flags, cwd, python=None):
    command = [python or warm_python.path(), "-m", f"xmodal.{module}", *flags]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("videos")
    save_tiny_data(cwd)
    save_tiny_videos(cwd / "videos")
    # A whole run in a process that is started anew, as users have it.
    process = command("run", *FLAGS, cwd=cwd, python=sys.executable)
    assert process.returncode == 0, process.stderr
    return cwd, process


@pytest.fixture(scope="module")
def predictor(finished):
    cwd, _ = finished
    return Predictor(cwd / "saved_models/vgg_to_bert")


def test_results_have_the_names_of_videos(finished):
    cwd, process = finished
    metrics = json.loads((cwd / "runs/videos/metrics.json").read_text())
    assert {*metrics["results"]} == {"video_only", "text", "fused", "zero_video", "text_zero_shot"}
    assert "\nvideo_only " in process.stdout
    assert metrics["title"].count("of frames") == 1
    assert "cat/camera0_bad.gif" in json.dumps(metrics["data"])


def test_the_report_shows_strips_of_frames(finished):
    cwd, _ = finished
    page = (cwd / "runs/videos/report.html").read_text()
    shown = re.findall(
        r'<figure><img src="data:image/[a-z]+;base64,[^"]+" width="(\d+)" height="(\d+)"', page
    )
    assert shown
    assert all(int(width) > int(height) for width, height in shown)
    assert "<audio" not in page
    examples = [path.suffix for path in (cwd / "runs/videos/examples").iterdir()]
    assert set(examples) <= {".gif", ".webp"}


def test_the_export_was_checked_and_takes_gif_or_frames(finished, predictor):
    cwd, _ = finished
    facts = json.loads((cwd / "runs/videos/metrics.json").read_text())["facts"]
    assert facts["export: largest difference, frames"] < 1e-4
    assert facts["export: largest difference, serving_default"] < 1e-4
    assert predictor.signatures["serving_default"] == ("video_bytes",)
    assert predictor.signatures["video_and_text"] == ("text", "video_bytes")
    assert predictor.signatures["frames"] == ("frames",)


def test_the_card_names_the_signatures(finished, predictor):
    cwd, _ = finished
    (card,) = (cwd / "saved_models/vgg_to_bert").glob("*/model_card.md")
    for name in predictor.signatures:
        assert f"| {name.replace('_', chr(92) + '_')} |" in card.read_text()
    assert "image" not in card.read_text().partition("## Figures")[0]


def test_all_kinds_of_the_same_frames_get_one_answer(predictor):
    pixels = moving((200, 20, 20))
    answers = list(predictor([animation(pixels, kind) for kind in ("GIF", "WebP", "PNG")]))
    for answer in answers:
        assert answer.probabilities == pytest.approx(answers[0].probabilities, abs=1e-3)
    encoded = tf.constant([animation(pixels)])
    in_graph = tf.saved_model.load(str(predictor._folder)).signatures["serving_default"](video_bytes=encoded)
    np.testing.assert_allclose(in_graph["probabilities"][0], [*answers[0].probabilities.values()], atol=1e-4)


def test_videos_of_all_lengths_are_answered_beside_bad_ones(predictor):
    videos = [animation(moving((20, 20, 200), frames)) for frames in (1, 2, 30)]
    bad = [b"no video", b"", videos[2][:-20], animation(moving((1, 2, 3)), milliseconds=65_000)]
    answers = list(predictor([*videos, *bad]))
    assert [answer.problem for answer in answers] == [
        *[""] * len(videos),
        *("not a video", "empty file", "truncated or corrupt GIF", "too long: 390 seconds"),
    ]
    for video, answer in zip(videos, answers, strict=False):
        assert next(predictor([video])).probabilities == pytest.approx(answer.probabilities, abs=1e-4)


def test_a_pair_may_lack_its_video_or_its_text(predictor):
    video, text = animation(moving((200, 20, 20))), "a photo of a dog"
    both, seen, said, webp = predictor(
        [(video, text), (video, ""), (b"", text), (animation(moving((9, 9, 9)), "WebP"), text)]
    )
    assert seen.probabilities == pytest.approx(next(predictor([video])).probabilities, abs=1e-4)
    assert said.probabilities == pytest.approx(next(predictor([text])).probabilities, abs=1e-4)
    assert both.problem == ""
    assert webp.problem == "beside a text: WebP, and a model decodes GIF alone"


def test_a_video_has_a_picture_and_words_that_made_its_answer(predictor):
    encoded = animation(moving((200, 20, 20)))
    assert tf.io.decode_png(predictor.medium.picture(encoded)).shape == (96, 480, 3)
    (answer,) = predictor([encoded])
    found = why(predictor, Item("a.gif", encoded, False), answer)
    assert not found.maps
    assert " ".join(found.words) == answer.read.partition(" | ")[0]
    assert 0 <= answer.unknown <= 1


def test_a_folder_of_videos_is_answered_by_the_command(finished):
    cwd, _ = finished
    folder = cwd / "asked"
    folder.mkdir()
    (folder / "one.gif").write_bytes(animation(moving((200, 20, 20))))
    (folder / "two.webp").write_bytes(b"RIFF")
    done = command("predict", "--model=saved_models/vgg_to_bert", "--sheet=sheet.png", "asked", cwd=cwd)
    assert tf.io.decode_png((cwd / "sheet.png").read_bytes()).shape[-1] == 3
    assert "one.gif" in done.stdout
    assert "not a video" in done.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--augment=pitch"], "the augmentation 'pitch' is not one of videos"),
        (["--mirror"], "--mirror is for images, not for videos"),
    ],
)
def test_what_is_for_others_is_refused_in_a_line(finished, flags, told):
    cwd, _ = finished
    given = [flag for flag in FLAGS if flag.partition("=")[0] != flags[0].partition("=")[0]]
    process = command("run", *given, *flags, "--output_dir=runs/refused", cwd=cwd)
    assert process.returncode == 2
    assert told in process.stderr
    assert "Traceback" not in process.stderr

"""A run on sounds, from WAV files to an export that answers WAV files."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_data import save_tiny_data
from tiny_sounds import FLOAT, save_tiny_sounds, tone, wav

from xmodal.export.predictor import Item, Predictor
from xmodal.export.why import why

FLAGS = [
    "--flagfile=vgg_to_bert.cfg",
    "--dataset=sounds:sounds",
    r"--group_pattern=(speaker\d)",
    "--sound_rate=8000",
    "--augment=shift,speed,pitch,mask,noise",
    "--nobaseline",
    "--explained=2",
    "--output_dir=runs/sounds",
    "--saved_models_dir=saved_models",
]


def command(module, *flags, cwd):
    return subprocess.run(
        [warm_python.path(), "-m", f"xmodal.{module}", *flags], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("sounds")
    save_tiny_data(cwd)
    save_tiny_sounds(cwd / "sounds")
    process = command("run", *FLAGS, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return cwd, process


@pytest.fixture(scope="module")
def predictor(finished):
    cwd, _ = finished
    return Predictor(cwd / "saved_models/vgg_to_bert")


def test_results_have_the_names_of_sounds(finished):
    cwd, process = finished
    metrics = json.loads((cwd / "runs/sounds/metrics.json").read_text())
    assert {*metrics["results"]} == {"audio_only", "text", "fused", "zero_sound", "text_zero_shot"}
    assert "\naudio_only " in process.stdout
    assert metrics["title"].count("of spectrograms") == 1
    assert not [line for plot in metrics["plots"] for line in plot["series"] if "image" in line["name"]]
    assert "cat/speaker0_bad.wav" in process.stdout + process.stderr + json.dumps(metrics["data"])


def test_the_report_shows_spectrograms_and_plays_sounds(finished):
    cwd, _ = finished
    page = (cwd / "runs/sounds/report.html").read_text()
    assert page.count("<audio controls") == page.count('src="data:audio/wav;base64,UklGR') > 0
    assert "media-src data:" in page
    examples = [path.suffix for path in (cwd / "runs/sounds/examples").iterdir()]
    assert set(examples) == {".wav"}


def test_tensorboard_plays_sounds(finished):
    cwd, _ = finished
    events = EventAccumulator(str(cwd / "runs/sounds/tensorboard/results")).Reload()
    plugin = events.summary_metadata
    assert any(told.plugin_data.plugin_name == "audio" for told in plugin.values())


def test_the_export_takes_audio_bytes(predictor):
    assert predictor.signatures["serving_default"] == ("audio_bytes",)
    assert predictor.signatures["sound_and_text"] == ("audio_bytes", "text")
    assert predictor.signatures["embed_sound"] == ("audio_bytes",)


def test_the_card_names_the_signatures(finished, predictor):
    cwd, _ = finished
    (card,) = (cwd / "saved_models/vgg_to_bert").glob("*/model_card.md")
    for name in predictor.signatures:
        assert f"| {name.replace('_', chr(92) + '_')} |" in card.read_text()
    assert "image" not in card.read_text().partition("## Figures")[0]


def test_the_page_of_the_demo_shows_the_sound(finished, predictor):
    cwd, _ = finished
    from xmodal.demo import _pixels

    shown = predictor.medium.picture((cwd / "sounds/dog/speaker0_1.wav").read_bytes())
    assert _pixels(shown).shape == (128, 128, 3)


def test_answers_to_sounds_know_their_limits(predictor):
    short, long = predictor([wav(tone(1500)), wav(tone(1500, 3.0))])
    for answer in (short, long):
        assert 0 <= answer.unknown <= 1
        assert answer.verdict
        assert set(answer.answers) <= set(predictor.labels)


@pytest.mark.parametrize("seconds", [0.4, 2.5])
def test_what_made_the_answer_to_a_sound_is_told(predictor, seconds):
    sound = wav(np.concatenate([tone(1500, seconds / 2), tone(300, seconds / 2)]))
    (answer,) = predictor([sound])
    found = why(predictor, Item("a sound", sound, False), answer)
    assert [part.method for part in found.maps] == ["occlusion", "Grad-CAM"]
    assert all(part.shares.shape == (8, 8) for part in found.maps)
    assert found.picture.shape == (128, 128, 3)
    assert " ".join(found.words) == answer.read.partition(" | ")[0]
    pair = Item("a pair", sound, False, text=b"a photo of a dog")
    (answer,) = predictor([pair])
    found = why(predictor, pair, answer)
    assert found.words == ("a", "photo", "of", "a", "dog")
    assert found.maps


def test_the_report_tells_what_made_the_answers(finished):
    cwd, _ = finished
    page = (cwd / "runs/sounds/report.html").read_text()
    shown = page.partition('<section id="why"')[2].partition("</section>")[0]
    assert shown.count("Occlusion: deletion ") == shown.count("Grad-CAM: deletion ") == 2
    assert "Left out: deletion " in shown


@pytest.mark.parametrize(
    ("rate", "bits", "codec"), [(8000, 16, 1), (44100, 24, 1), (16000, 8, 1), (48000, 32, FLOAT)]
)
def test_a_sound_gets_the_same_answer_at_any_rate_and_depth(predictor, rate, bits, codec):
    plain, other = predictor([wav(tone(1500)), wav(tone(1500, 0.5, rate), rate, bits, codec)])
    assert plain.problem == other.problem == ""
    np.testing.assert_allclose([*plain.probabilities.values()], [*other.probabilities.values()], atol=0.05)


def test_sounds_of_all_lengths_are_answered_beside_bad_ones(predictor):
    lengths = [0.05, 0.4, 3.0, 20.0]
    answers = list(
        predictor([*(wav(tone(1500, seconds)) for seconds in lengths), b"no sound", wav([0.1]), b""])
    )
    assert [answer.problem for answer in answers] == [
        *[""] * len(lengths),
        "not a sound",
        "too short: 1 sample",
        "empty file",
    ]
    alone = [next(predictor([wav(tone(1500, seconds))])) for seconds in lengths]
    for one, among in zip(alone, answers, strict=False):
        assert one.probabilities == pytest.approx(among.probabilities, abs=1e-4)


def test_a_pair_may_lack_its_sound_or_its_text(predictor):
    sound, text = wav(tone(1500)), "a photo of a dog"
    both, heard, said = predictor([(sound, text), (sound, ""), (b"", text)])
    assert heard.probabilities == pytest.approx(next(predictor([sound])).probabilities, abs=1e-4)
    assert said.probabilities == pytest.approx(next(predictor([text])).probabilities, abs=1e-4)
    assert both.problem == ""


def test_a_folder_of_sounds_is_answered_by_the_command(finished):
    cwd, _ = finished
    folder = cwd / "asked"
    folder.mkdir()
    shutil.copy(cwd / "sounds/dog/speaker0_1.wav", folder / "one.wav")
    (folder / "two.wav").write_bytes(b"RIFF")
    done = command("predict", "--model=saved_models/vgg_to_bert", "--sheet=sheet.png", "asked", cwd=cwd)
    assert tf.io.decode_png((cwd / "sheet.png").read_bytes()).shape[-1] == 3
    assert "one.wav" in done.stdout
    assert "not a sound" in done.stdout


def test_warm_up_requests_are_there(finished):
    cwd, _ = finished
    (requests,) = (cwd / "saved_models/vgg_to_bert").glob("*/assets.extra/tf_serving_warmup_requests")
    assert any(b"audio_bytes" in row.numpy() for row in tf.data.TFRecordDataset(str(requests)))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--augment=rotate"], "the augmentation 'rotate' is not one of sounds"),
        (["--mirror"], "--mirror is for images"),
        (["--speaker=efficientnet_lite0_imagenet"], "is for images"),
    ],
)
def test_what_is_for_images_alone_is_refused_in_a_line(finished, flags, told):
    cwd, _ = finished
    given = [flag for flag in FLAGS if flag.partition("=")[0] != flags[0].partition("=")[0]]
    process = command("run", *given, *flags, "--output_dir=runs/refused", cwd=cwd)
    assert process.returncode == 2
    assert told in process.stderr
    assert "Traceback" not in process.stderr


def test_folders_of_sounds_may_have_splits(tmp_path):
    from xmodal.config.data import SplitConfig
    from xmodal.data.images import load_images

    for split in ("train", "test"):
        save_tiny_sounds(tmp_path / split)
    data = load_images(f"sounds:{tmp_path}", SplitConfig(min_per_class=1))
    assert (len(data.train) + len(data.validation), len(data.test)) == (40, 40)

"""Videos become frames at equal distances, are split by groups, audited, and read in batches."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from tiny_videos import animation, moving, save_tiny_videos

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.data.gif_frames import BLACK, UNLIKE, gif_frames, problem_in_graph
from xmodal.data.images import batches, load_images
from xmodal.data.video_files import delays
from xmodal.data.video_format import VideoFormat
from xmodal.data.videos import frame_positions, frames_of, look_at_video, strip_of
from xmodal.data.windows import ABSENT

RED = (220, 30, 20)
FOUR = VideoFormat(frames=4)


@pytest.mark.parametrize(
    ("count", "most", "positions"), [(12, 4, [1, 4, 7, 10]), (3, 8, [0, 1, 2]), (9, 1, [4]), (1, 8, [0])]
)
def test_frames_are_at_equal_distances(count, most, positions):
    assert frame_positions(count, most).tolist() == positions


@pytest.mark.parametrize("kind", ["GIF", "WebP", "PNG"])
def test_frames_are_those_of_the_animation(kind):
    pixels = moving(RED, frames=12)
    frames = frames_of(animation(pixels, kind), FOUR)
    np.testing.assert_allclose(frames, pixels[[1, 4, 7, 10]], atol=2)


@pytest.mark.parametrize("kind", ["WebP", "PNG", "GIF"])
def test_what_is_transparent_is_white(kind):
    pixels = np.concatenate([moving(RED), np.full((6, 32, 40, 1), 255, np.uint8)], axis=-1)
    pixels[:, :5, :, 3] = 0
    frames = frames_of(
        animation(pixels, kind, disposal=2) if kind == "GIF" else animation(pixels, kind), FOUR
    )
    assert frames[:, :5].min() >= 250
    np.testing.assert_allclose(frames[:, 6:], pixels[[0, 2, 3, 5], 6:, :, :3], atol=2)


def test_a_picture_before_the_frames_of_a_png_is_none_of_them():
    pixels = moving(RED, frames=3)
    others = {"default_image": True}
    encoded = animation(np.concatenate([np.zeros_like(pixels[:1]), pixels]), "PNG", **others)
    np.testing.assert_array_equal(frames_of(encoded, FOUR), pixels)


@pytest.mark.parametrize("frames", [1, 2, 6, 30])
def test_a_gif_has_the_same_frames_in_a_graph(frames):
    encoded = animation(moving(RED, frames=frames))
    in_graph = gif_frames(tf.constant(encoded), 4, 0).numpy()
    np.testing.assert_array_equal(in_graph, frames_of(encoded, FOUR))
    assert problem_in_graph(encoded, FOUR) == ""


def test_the_transparent_colour_of_a_gif_is_white_in_a_graph_too():
    pixels = np.concatenate([moving(RED, 1), np.full((1, 32, 40, 1), 255, np.uint8)], axis=-1)
    pixels[:, :5, :, 3] = 0
    encoded = animation(pixels)
    np.testing.assert_array_equal(gif_frames(tf.constant(encoded), 4, 0), frames_of(encoded, FOUR))


def test_a_gif_whose_frames_are_taken_away_again_is_refused_in_a_graph_and_read_elsewhere():
    pixels = np.concatenate([moving(RED), np.zeros((6, 32, 40, 1), np.uint8)], axis=-1)
    pixels[(pixels[..., 0] == RED[0]), 3] = 255
    encoded = animation(pixels, disposal=2)
    assert problem_in_graph(encoded, FOUR) == UNLIKE
    seen = (frames_of(encoded, FOUR) == 255).all(axis=-1)
    assert (seen == (pixels[[0, 2, 3, 5], :, :, 3] == 0)).all()


def test_what_a_graph_does_not_decode_is_named():
    assert problem_in_graph(animation(moving(RED), "WebP"), FOUR).startswith("WebP")
    assert problem_in_graph(animation(moving(RED)), VideoFormat(4, max_pixels=1000)).endswith("many pixels")
    assert problem_in_graph(b"no video", FOUR).startswith("no video")
    assert frames_of(BLACK, FOUR).shape == (1, 1, 1, 3)


@pytest.mark.parametrize("kind", ["GIF", "WebP", "PNG"])
def test_seconds_are_those_of_the_frames(kind):
    assert delays(animation(moving(RED), kind, milliseconds=250)) == pytest.approx([0.25] * 6)


def huge(side=60_000):
    """A GIF that says it is larger than it is."""
    encoded = animation(moving(RED))
    return encoded[:6] + struct.pack("<HH", side, side) + encoded[10:]


def no_frames():
    """An animated WebP without any, and a GIF."""
    content = b"WEBPVP8X" + struct.pack("<IB", 10, 2) + bytes(9)
    return b"RIFF" + struct.pack("<I", len(content)) + content, BLACK[:19] + b";"


def wrong_pixels():
    """A PNG whose pixels are no stream of zlib."""
    encoded = animation(moving(RED, 1), "PNG")
    at = encoded.index(b"IDAT")
    size = int.from_bytes(encoded[at - 4 : at])
    chunk = b"IDAT" + b"x" * size
    return encoded[: at - 4] + struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) + (
        encoded[at + 8 + size :]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encoded", "problem"),
    [
        (b"", "empty file"),
        (b"hello", "not a video"),
        (b"\xff\xd8\xff\xe0 a photograph", "not a video"),
        (animation(moving(RED))[:-40], "truncated or corrupt GIF"),
        (animation(moving(RED), "WebP")[:-40], "truncated or corrupt WebP"),
        (animation(moving(RED), "PNG")[:-40], "truncated or corrupt PNG"),
        (wrong_pixels(), "truncated or corrupt PNG"),
        (animation(moving(RED), milliseconds=1_200_000 // 2), "too long: 3,600 seconds"),
        (huge(), "4 frames of 60,000 x 60,000 pixels, which are too many"),
        *((encoded, "no frames") for encoded in no_frames()),
    ],
    ids=lambda given: given[:20] if isinstance(given, bytes) else None,
)
def test_bad_input_is_told_in_a_line(encoded, problem):
    assert look_at_video(encoded, FOUR).problem == problem


@pytest.mark.parametrize("cut", range(0, 600, 60))
def test_a_cut_animation_is_told(cut):
    for kind in ("GIF", "WebP", "PNG"):
        encoded = animation(moving(RED), kind)
        assert look_at_video(encoded[: len(encoded) * cut // 600], FOUR).problem


@pytest.mark.parametrize(
    ("pixels", "doubt"),
    [
        (moving(RED, 1), "of one frame"),
        (np.stack([np.full((8, 8, 3), grey, np.uint8) for grey in range(3)]), "without contrast"),
        (moving(RED), ""),
    ],
)
def test_what_is_doubtful_is_told(pixels, doubt):
    assert look_at_video(animation(pixels, "PNG"), FOUR).doubt == doubt


def test_a_strip_shows_the_frames():
    strip = tf.io.decode_png(strip_of(animation(moving(RED, 6)), VideoFormat(frames=6))).numpy()
    assert strip.shape == (2 * 96, 4 * 120, 3)
    assert (strip[96:, 240:] == 255).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos")
    save_tiny_videos(path / "videos")
    return path


def load(folder, **options):
    split = SplitConfig(min_per_class=2, **options)
    return load_images(f"videos:{folder / 'videos'}", split, video=FOUR)


def test_groups_stay_together_and_what_is_bad_is_counted(folder):
    data = load(folder, group_pattern=r"(camera\d)")
    parts = [{name[4:11] for name in split.ids} for split in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 5
    assert data.report.dropped == (("cat/camera0_bad.gif", "truncated or corrupt GIF"),)


def test_the_same_frames_twice_are_told(folder):
    again = folder / "videos" / "dog" / "again.png"
    again.write_bytes(animation(moving((0, 0, 200)), "PNG"))
    again.with_name("once.webp").write_bytes(animation(moving((0, 0, 200)), "WebP"))
    report = load(folder, test_fraction=0).report
    again.unlink()
    again.with_name("once.webp").unlink()
    assert ("dog/again.png", "dog/once.webp") in report.duplicates


def test_a_table_may_name_videos(folder):
    rows = ["video,label,camera"]
    rows += [
        f"{path.relative_to(folder)},{path.parent.name},{path.name[:7]}"
        for path in sorted((folder / "videos").rglob("camera*_[0-9]*"))
    ]
    (folder / "videos.csv").write_text("\n".join(rows))
    data = load_images(f"csv:{folder / 'videos.csv'}", SplitConfig(min_per_class=2, group_column="camera"))
    assert data.train.medium.noun == "video"
    assert sum(map(len, (data.train, data.validation, data.test))) == 40


def test_batches_hold_one_frame_or_all_of_each(folder):
    split = load(folder).train
    (one,) = batches(split, image_size=32, batch_size=64)
    (all_frames,) = batches(split, image_size=32, batch_size=64, windows=True)
    several = all_frames["image"].numpy()
    assert one["image"].shape == (len(split), 32, 32, 3)
    assert several.shape == (len(split), 4, 32, 32, 3)
    there = (several != ABSENT).all(axis=(2, 3, 4))
    assert sorted(set(there.sum(axis=1))) == [2, 3, 4]
    middle = there.sum(axis=1) // 2
    np.testing.assert_array_equal(one["image"], several[np.arange(len(split)), middle])


def test_augmented_batches_take_any_frame_and_follow_from_the_seed(folder):
    split = load(folder).train
    (all_frames,) = batches(split, image_size=32, batch_size=64, windows=True)

    def of(epoch, kinds=("shift",)):
        read = batches(split, image_size=32, batch_size=64, augment=kinds, seed=1, epoch=epoch)
        return next(iter(read))["image"].numpy()

    np.testing.assert_array_equal(of(2), of(2))
    assert np.abs(of(2) - of(3)).max() > 1
    plain = np.concatenate([of(epoch, ("flip",))[:, None] for epoch in range(3)], axis=1)
    both = np.stack([plain, plain[..., ::-1, :]], axis=2)
    near = (
        np.abs(both[:, :, :, None] - all_frames["image"].numpy()[:, None, None])
        .mean(axis=(-3, -2, -1))
        .min(2)
    )
    assert near.min(axis=-1).max() < 1e-3
    assert len(set(near[0].argmin(axis=-1))) > 1


def contained(pixels, kind="mp4", codec="mpeg4", rotation=0):
    """Returns frames (n, 64, 64, 3) as a container."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 64, "yuv420p", 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "mpeg4"), ("avi", "mpeg4"), ("matroska", "mpeg4"), ("mpeg", "mpeg2video"), ("flv", "flv")],
)
def test_containers_are_read_by_a_library(kind, codec):
    pixels = moving(RED, 24, (64, 64))
    encoded = contained(pixels, kind, codec)
    frames = frames_of(encoded, FOUR)
    assert np.abs(frames.astype(int) - pixels[frame_positions(24, 4)]).mean() < 12
    assert look_at_video(encoded, VideoFormat(4, max_seconds=0.5)).problem == "too long: 1 seconds"
    assert "too many" in look_at_video(encoded, VideoFormat(4, max_pixels=1000)).problem


def test_a_container_that_is_cut_off_is_told():
    encoded = contained(moving(RED, 24, (64, 64)))
    assert look_at_video(encoded[: len(encoded) // 2], FOUR).problem == "truncated or corrupt MP4"
    assert look_at_video(encoded[:16] + bytes(500), FOUR).problem


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_video_is_turned_upright(rotation):
    pixels = moving(RED, 6, (64, 64))
    frames = frames_of(contained(pixels, rotation=rotation), FOUR)
    upright = np.rot90(pixels[frame_positions(6, 4)], rotation // 90, axes=(1, 2))
    assert np.abs(frames.astype(int) - upright).mean() < 12


def test_a_missing_library_is_told_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"MP4 and other containers need the package av .*-e '\.\[video\]'"):
        frames_of(b"\0\0\0\x18ftypisom", FOUR)

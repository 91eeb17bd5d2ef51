"""From encoded videos to the frames that are looked at, which an image network reads.

GIF, WebP and PNG are decoded by Pillow, other kinds by the package av, one frame after another: only those
that are looked at are kept in memory.
"""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import tensorflow as tf

from xmodal.core.versions import optional_package
from xmodal.data.audit import LITTLE_CONTRAST, Scan, content_digest
from xmodal.data.decoding import resize_pixels
from xmodal.data.image_files import HEAD
from xmodal.data.image_headers import declared_size
from xmodal.data.video_files import ANIMATIONS, CONTAINERS, delays, kind_by_content, why_undecodable
from xmodal.data.video_format import VideoFormat

# Of a picture that a report shows: frames in a row, and the height of each.
ROW, HEIGHT = 4, 96


def frame_positions(count: int, most: int) -> np.ndarray:
    """Returns the frames to look at, of so many: each in the middle of an equal part of the video.

    Example:
        >>> frame_positions(12, 4).tolist(), frame_positions(2, 4).tolist()
        ([1, 4, 7, 10], [0, 1])
    """
    parts = min(count, most)
    return (2 * np.arange(parts) + 1) * count // (2 * max(parts, 1))


def frames_of(encoded: bytes, video: VideoFormat) -> np.ndarray:
    """Decodes the frames of a video that are looked at.

    Args:
        encoded: a GIF, WebP or PNG; or an MP4, WebM, AVI, MPEG, FLV or WMV.
        video: how many, and the limits.

    Returns:
        (n, H, W, 3) uint8 RGB, n at least 1 and at most `video.frames`. What is transparent is white.

    Raises:
        UserError: for what Pillow does not read, when the package av is not installed.
        ValueError: that says what is wrong with a video that cannot be read.
    """
    kind = kind_by_content(encoded[:HEAD])
    if kind in ANIMATIONS:
        return np.stack(list(_of_animation(encoded, video)))
    if kind in CONTAINERS:
        return _of_container(encoded, CONTAINERS[kind], video)
    raise ValueError(why_undecodable(encoded))


def look_at_video(encoded: bytes, video: VideoFormat) -> Scan:
    """Decodes a video, and says what is wrong with it.

    Raises:
        UserError: for what Pillow does not read, when the package av is not installed.
    """
    try:
        frames = frames_of(encoded, video)
    except ValueError as error:
        return Scan(b"", str(error))
    return Scan(content_digest(frames), "", _doubt(frames))


def problem_of_video(encoded: bytes, video: VideoFormat) -> str:
    """Says why a video cannot be read; "" when it can."""
    return look_at_video(encoded, video).problem


def strip_of(encoded: bytes, video: VideoFormat) -> bytes:
    """Returns a PNG of the frames that are looked at, `ROW` in a row."""
    frames = frames_of(encoded, video)
    width = max(1, round(HEIGHT * frames.shape[2] / frames.shape[1]))
    thumbnails = np.round(resize_pixels(frames, (HEIGHT, width)).numpy()).astype(np.uint8)
    row = min(ROW, len(thumbnails))
    padding = np.full((-len(thumbnails) % row, *thumbnails.shape[1:]), 255, np.uint8)
    rows = np.concatenate([thumbnails, padding]).reshape(-1, row, *thumbnails.shape[1:])
    return tf.io.encode_png(np.concatenate(np.concatenate(rows, axis=1), axis=1)).numpy()


def _doubt(frames: np.ndarray) -> str:
    """Says what is doubtful about frames (n, H, W, 3); "" for nothing."""
    if len(frames) == 1:
        return "of one frame"
    if int(frames.max()) - int(frames.min()) <= LITTLE_CONTRAST:
        return "without contrast"
    return "in which nothing moves" if (frames == frames[0]).all() else ""


def _of_animation(encoded: bytes, video: VideoFormat) -> Iterator[np.ndarray]:
    from PIL import Image

    seconds = delays(encoded)
    # A frame that is alone takes no time.
    _check(sum(seconds) if len(seconds) > 1 else 0, video)
    positions = frame_positions(len(seconds), video.frames)
    height, width = declared_size(tf.constant(encoded)).numpy()
    _check_size(width, height, len(positions), video)
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            # A PNG may have a picture before its frames, for programs that know no animation.
            first = int(getattr(picture, "default_image", False))
            for position in positions:
                picture.seek(first + int(position))
                yield _on_white(np.asarray(picture.convert("RGBA")))
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(why_undecodable(encoded)) from error


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Lays RGBA (H, W, 4) on white: (H, W, 3)."""
    colours, alpha = pixels[..., :3].astype(np.int32), pixels[..., 3:].astype(np.int32)
    return ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _of_container(encoded: bytes, demuxer: str, video: VideoFormat) -> np.ndarray:
    av = library()
    try:
        with av.open(io.BytesIO(encoded), format=demuxer) as container:
            stream = _video_stream(container)
            if container.duration:
                _check(container.duration / av.time_base, video)
            packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
            _check(float(len(packets) / (stream.average_rate or Fraction(25))), video)
            positions = frame_positions(len(packets), video.frames)
            _check_size(stream.codec_context.width, stream.codec_context.height, len(positions), video)
        with av.open(io.BytesIO(encoded), format=demuxer) as container:
            return _pick_frames(container.decode(_video_stream(container)), positions.tolist())
    except av.FFmpegError as error:
        raise ValueError(why_undecodable(encoded)) from error


def _video_stream(container):
    if not container.streams.video:
        raise ValueError("no frames")
    return container.streams.video[0]


def _pick_frames(frames, positions: Sequence[int]) -> np.ndarray:
    """Returns the frames at some positions; turned upright, as telephones write the side that is up."""
    picked_frames: list[np.ndarray] = []
    for position, frame in enumerate(frames):
        if position == positions[len(picked_frames)]:
            turns = round((frame.rotation or 0) / 90)
            picked_frames.append(np.rot90(frame.to_ndarray(format="rgb24"), turns))
            if len(picked_frames) == len(positions):
                return np.stack(picked_frames)
    raise ValueError("has fewer frames than it says: truncated or corrupt")


def _check(seconds: float, video: VideoFormat) -> None:
    if seconds > video.max_seconds:
        raise ValueError(f"too long: {seconds:,.0f} seconds")


def _check_size(width: int, height: int, count: int, video: VideoFormat) -> None:
    if not count:
        raise ValueError("no frames")
    if 0 < video.max_pixels < int(width) * int(height) * count:
        raise ValueError(f"{count} frames of {width:,} x {height:,} pixels, which are too many")


def library():
    """Returns the package av, which is imported at the first call.

    Raises:
        UserError: when it is not installed.
    """
    remedy = "pip install -c constraints.txt -e '.[video]', or convert them to GIF"
    return optional_package("av", "MP4 and other containers", remedy)

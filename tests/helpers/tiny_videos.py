"""Animations of moving squares, and a folder of two kinds of them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def moving(colour, frames=6, side=(32, 40)):
    """Returns a square of a colour that goes from left to right over grey (n, H, W, 3)."""
    pixels = np.full((frames, *side, 3), 90, np.uint8)
    for number, frame in enumerate(pixels):
        left = 2 + number * (side[1] - 14) // max(frames - 1, 1)
        frame[8:20, left : left + 10] = colour
    return pixels


def animation(pixels, kind="GIF", milliseconds=100, **options) -> bytes:
    """Returns frames (n, H, W, 3 or 4) as an animation; of WebP and PNG without loss."""
    first, *others = map(Image.fromarray, pixels)
    file = io.BytesIO()
    options = {"save_all": True, "duration": milliseconds, "append_images": others} | options
    first.save(file, kind, **({"lossless": True} if kind == "WebP" else {}), **options)
    return file.getvalue()


def save_tiny_videos(folder: Path) -> None:
    """Writes 20 animations with a red square (cat) and 20 with a blue one (dog), and one that is cut off."""
    rng = np.random.default_rng(0)
    for number in range(40):
        name = ("cat", "dog")[number % 2]
        colour = rng.integers(150, 255), rng.integers(0, 60), rng.integers(0, 60)
        pixels = moving(colour[:: 1 - 2 * (number % 2)], frames=2 + number % 7)
        path = folder / name / f"camera{number // 2 % 5}_{number}.{('gif', 'gif', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(animation(pixels, ("GIF", "GIF", "WebP")[number % 3]))
    whole = (folder / "cat" / "camera0_0.gif").read_bytes()
    (folder / "cat" / "camera0_bad.gif").write_bytes(whole[: len(whole) // 2])

"""Images as phones, scanners and programs write them: turned, of palettes, transparent, animated, huge."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from loading import load_images
from PIL import Image, ImageOps

from xmodal.data.decoding import decode, decode_pixels, why_not_decoded
from xmodal.data.image_headers import declared_size
from xmodal.data.images import batches
from xmodal.export.serving import pixels, pixels_or_black

RNG = np.random.default_rng(0)
RGBA = Image.fromarray(RNG.integers(0, 255, (6, 5, 4)).astype(np.uint8))
RGB = RGBA.convert("RGB")
ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def on_white(image: Image.Image) -> np.ndarray:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    white.alpha_composite(image.convert("RGBA"))
    return np.asarray(white.convert("RGB"))


def without_colour(image: Image.Image, colour: int) -> np.ndarray:
    """Pixels of an image with a palette of which one colour is transparent."""
    told = np.array(image.convert("RGB"))
    told[np.asarray(image) == colour] = 255
    return told


def colours(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


FEW = RGB.quantize(8)
FIRST = FEW.getpixel((0, 0))
LOSSLESS = {"lossless": True, "exact": True}
OTHER = Image.fromarray(255 - np.asarray(RGBA))
KEY = tuple(map(int, np.asarray(RGB)[0, 0]))

IMAGES = {
    "PNG with alpha": (encoded(RGBA, "PNG"), on_white(RGBA)),
    "grey PNG with alpha": (encoded(RGBA.convert("LA"), "PNG"), on_white(RGBA.convert("LA"))),
    "PNG of a palette": (encoded(FEW, "PNG"), colours(FEW)),
    "PNG of 1 bit": (encoded(RGB.convert("1"), "PNG"), colours(RGB.convert("1"))),
    "PNG of two colours": (encoded(RGB.quantize(2), "PNG", bits=1), colours(RGB.quantize(2))),
    "PNG of a palette with a transparent colour": (
        encoded(FEW, "PNG", transparency=FIRST),
        without_colour(FEW, FIRST),
    ),
    "PNG of a palette of alphas": (
        encoded(FEW, "PNG", transparency=bytes([0, 128] + [255] * 6)),
        on_white(Image.open(io.BytesIO(encoded(FEW, "PNG", transparency=bytes([0, 128] + [255] * 6))))),
    ),
    "PNG with a colour for nothing": (
        encoded(RGB, "PNG", transparency=KEY),
        np.where((np.asarray(RGB) == KEY).all(axis=-1, keepdims=True), 255, np.asarray(RGB)),
    ),
    "WebP with alpha": (encoded(RGBA, "WEBP", **LOSSLESS), on_white(RGBA)),
    "WebP": (encoded(RGB, "WEBP", **LOSSLESS), np.asarray(RGB)),
    "animated WebP": (
        encoded(RGBA, "WEBP", save_all=True, append_images=[OTHER], **LOSSLESS),
        on_white(RGBA),
    ),
    "GIF": (encoded(FEW, "GIF"), colours(FEW)),
    "GIF with a transparent colour": (
        encoded(FEW, "GIF", transparency=FIRST),
        without_colour(FEW, FIRST),
    ),
    "animated GIF with a comment": (
        encoded(
            FEW, "GIF", save_all=True, append_images=[FEW.rotate(180)], transparency=FIRST, comment=b"a" * 600
        ),
        without_colour(FEW, FIRST),
    ),
    "BMP": (encoded(RGB, "BMP"), np.asarray(RGB)),
    "BMP of 32 bits": (encoded(RGBA, "BMP"), on_white(RGBA)),
    "BMP of 32 bits, the last 8 empty": (
        encoded(Image.fromarray(np.asarray(RGBA) * np.uint8([1, 1, 1, 0])), "BMP"),
        np.asarray(RGB),
    ),
    "grey BMP": (encoded(RGB.convert("L"), "BMP"), colours(RGB.convert("L"))),
    "BMP of 1 bit": (encoded(RGB.convert("1"), "BMP"), colours(RGB.convert("1"))),
    **{
        f"BMP of {count} colours": (encoded(RGB.quantize(count), "BMP"), colours(RGB.quantize(count)))
        for count in (2, 16, 30, 256)
    },
}


def top_down(bmp: bytes) -> bytes:
    """The same BMP with its rows from the top down, which is a negative height."""
    first, height = struct.unpack_from("<I", bmp, 10)[0], struct.unpack_from("<i", bmp, 22)[0]
    rows = np.frombuffer(bmp[first:], np.uint8).reshape(height, -1)[::-1].tobytes()
    return bmp[:22] + struct.pack("<i", -height) + bmp[26:first] + rows


IMAGES["BMP from the top down"] = (top_down(IMAGES["BMP of 30 colours"][0]), colours(RGB.quantize(30)))


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_read_as_it_is_meant_to_be_seen(name):
    content, expected = IMAGES[name]
    read = decode_pixels(content).numpy()
    assert np.abs(read.astype(int) - expected).max() <= 1
    assert declared_size(tf.constant(content)).numpy().tolist() == [6, 5]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(("frames", "lossless"), [(2, True), (5, True), (9, False)])
def test_of_an_animated_webp_the_first_frame_is_read(mode, frames, lossless):
    first, *others = (
        Image.fromarray(RNG.integers(0, 255, (90, 70, len(mode))).astype(np.uint8)) for _ in range(frames)
    )
    content = encoded(first, "WEBP", save_all=True, append_images=others, lossless=lossless)
    read = decode_pixels(content).numpy()
    assert np.abs(read.astype(int) - on_white(Image.open(io.BytesIO(content)))).max() <= 1


def in_three_bytes(*values: int) -> bytes:
    return b"".join(value.to_bytes(3, "little") for value in values)


def animated_webp(corner: tuple[int, int]) -> bytes:
    """A canvas of 50 x 40 with a first frame of 5 x 6 that begins at a corner."""
    still = encoded(RGBA, "WEBP", **LOSSLESS)
    frame = in_three_bytes(corner[0] // 2, corner[1] // 2, 4, 5, 100) + b"\0" + still[12:]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0x12) + in_three_bytes(49, 39)
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_first_frame_of_a_webp_has_its_place_on_the_canvas():
    expected = np.full((40, 50, 3), 255)
    expected[6:12, 8:13] = on_white(RGBA)
    assert np.abs(decode_pixels(animated_webp((8, 6))).numpy() - expected).max() <= 1
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_pixels(animated_webp((48, 6)))


def bmp_of(bits: int, packed: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 5, 6, 1, bits, packed, 72, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 126, 0, 0, 54) + header + bytes(72)


OS2 = b"BM" + struct.pack("<IHHIIHHHH", 98, 0, 0, 26, 12, 5, 6, 1, 8) + bytes(72)


@pytest.mark.parametrize("content", [bmp_of(16, 3), bmp_of(16, 0), bmp_of(8, 1), bmp_of(4, 2), OS2])
def test_rare_kinds_of_bmp_are_told(content):
    assert declared_size(tf.constant(content)).numpy().tolist() == [6, 5]
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode_pixels(content)
    assert why_not_decoded(content, caught.value) == (
        "a BMP of a kind that is not read (compressed, of 16 bits, or of OS/2): convert it to PNG"
    )


def turned(orientation: int, form: str, endian: str = "<", **options) -> bytes:
    big = Image.fromarray(np.kron(np.asarray(RGB), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a maker"
    exif[ORIENTATION] = orientation
    return encoded(big, form, exif=exif.tobytes(), **options)


FORMS = (("JPEG", {"quality": 95, "subsampling": 0}), ("PNG", {}), ("WEBP", LOSSLESS))


@pytest.mark.parametrize(("form", "options"), FORMS)
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_images(orientation, endian, form, options):
    content = turned(orientation, form, endian, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    read = decode_pixels(content).numpy()
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 2


def test_exif_behind_other_segments_and_broken_exif():
    content = turned(6, "JPEG", quality=95)
    start = content.index(b"\xff\xe1")
    others = b"".join(
        b"\xff" + bytes([kind]) + struct.pack(">H", 400) + bytes(398) for kind in (0xE2, 0xED, 0xFE)
    )
    behind = content[:start] + others + content[start:]
    np.testing.assert_array_equal(decode_pixels(behind), decode_pixels(content))
    # What is broken in EXIF makes no image unreadable.
    tiff = start + 10
    for at, value in ((tiff + 4, b"\xff" * 4), (tiff + 8, b"\xff\xff"), (tiff, b"XX")):
        broken = content[:at] + value + content[at + len(value) :]
        assert decode_pixels(broken).shape[:2] in ((48, 40), (40, 48))
    for orientation in (0, 9, 300):
        assert decode_pixels(turned(orientation, "JPEG")).shape == (48, 40, 3)


def test_training_evaluation_and_export_see_the_same(tmp_path):
    contents = [turned(orientation, "JPEG", quality=95) for orientation in range(1, 9)]
    contents += [content for content, _ in IMAGES.values()]
    for number, content in enumerate(contents):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    data = load_images(
        f"folder:{tmp_path / 'photos'}", cache=tmp_path, validation_fraction=0, test_fraction=0
    )
    assert data.report.dropped == ()
    module = tf.Module()
    module.read = tf.function(
        lambda images: pixels(images, 16), input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    exported = tf.saved_model.load(str(tmp_path / "model"))
    trained = np.concatenate([batch["image"] for batch in batches(data.train, image_size=16, batch_size=7)])
    ours = [data.train.encoded(place) for place in range(len(data.train))]
    np.testing.assert_array_equal(exported.read(tf.constant(ours)), trained)
    np.testing.assert_array_equal(np.stack([decode(content, 16) for content in ours]), trained)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


HUGE = {
    "PNG": png_header(18_000, 18_000),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";",
    "BMP": b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 30_000, -30_000, 1, 24) + bytes(24),
    "WebP": b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\xff\xff\x00" * 2 + bytes(40),
    "JPEG": None,
}


@pytest.mark.parametrize("kind", HUGE)
def test_what_declares_too_much_is_refused_before_it_is_decoded(kind, tmp_path):
    content = HUGE[kind]
    if content is None:
        small = encoded(RGB, "JPEG")
        frame = small.index(b"\xff\xc0")
        content = small[: frame + 5] + struct.pack(">HH", 60_000, 60_000) + small[frame + 9 :]
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        decode_pixels(content)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
        pixels(tf.constant([content]), 32)


def test_whoever_decodes_has_a_limit_of_pixels():
    content = encoded(Image.new("RGB", (20, 10)), "PNG")
    for limit in (0, 200, 10**9):
        assert decode(tf.constant(content), 8, limit).shape == (8, 8, 3)
        assert pixels(tf.constant([content]), 8, limit).shape == (1, 8, 8, 3)
        assert pixels_or_black(tf.constant([content, b""]), 8, limit).shape == (2, 8, 8, 3)
    for read in (decode, lambda one, *others: pixels(one[None], *others)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
            read(tf.constant(content), 8, 199)


def test_a_limit_of_pixels(tmp_path):
    for number in range(12):
        side = 20 if number == 3 else 10
        image = RNG.integers(0, 255, (side, 10, 3)).astype(np.uint8)
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(Image.fromarray(image), "PNG"))
    data = load_images(f"folder:{tmp_path}", cache=tmp_path, max_pixels=100)
    assert data.report.dropped == (("b/3.png", "10 x 20 pixels, which are too many"),)
    assert load_images(f"folder:{tmp_path}", cache=tmp_path, max_pixels=200).report.dropped == ()


def test_images_in_which_there_is_little_to_see_are_told(tmp_path):
    twelve_bits = RNG.integers(0, 4096, (9, 9)).astype(np.uint16)
    odd = {
        "a/flat.png": Image.new("RGB", (9, 9), (7, 7, 9)),
        "b/grey.jpg": Image.new("L", (9, 9), 128),
        "a/scan.png": Image.fromarray(twelve_bits),
        "b/full.png": Image.fromarray(twelve_bits * 16),
    }
    for number in range(10):
        odd[f"{'ab'[number % 2]}/{number}.png"] = Image.fromarray(
            RNG.integers(0, 255, (9, 9)).astype(np.uint8)
        )
    for name, image in odd.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    report = load_images(f"folder:{tmp_path}", cache=tmp_path).report
    assert "2 images without contrast: 'a/flat.png', 'b/grey.jpg'" in report.warnings
    (told,) = [line for line in report.warnings if "16 bits" in line]
    assert told.endswith("nearly black: 'a/scan.png'")
    assert told.startswith("1 image of 16 bits of which the upper ones are not used")


KINDS = {
    "TIFF": b"II*\0" + bytes(60),
    "HEIC": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40),
    "AVIF": b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(40),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "PDF": b"%PDF-1.7\n" + bytes(40),
    "PSD": b"8BPS\0\1" + bytes(40),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_not_read_are_named(kind, tmp_path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        picture = Image.fromarray(RNG.integers(0, 255, (6, 5, 3)).astype(np.uint8))
        path.write_bytes(encoded(picture, "JPEG"))
    (tmp_path / "a" / "odd.jpg").write_bytes(KINDS[kind])
    told = load_images(f"folder:{tmp_path}", cache=tmp_path).report.dropped
    assert told == (("a/odd.jpg", f"{kind}, which is not read: convert it to JPEG or PNG"),)

"""Which files are videos, and how long animations are, told by their bytes without decoding any."""

from collections.abc import Callable, Iterator
from pathlib import Path

from xmodal.data.image_files import HEAD, fault_of, kind_by_name

# Those that Pillow reads, and those that need the package av: kind -> its demuxer.
ANIMATIONS = ("GIF", "WebP", "PNG")
CONTAINERS = {"MP4": "mp4", "WebM": "matroska", "AVI": "avi", "MPEG": "mpeg", "FLV": "flv", "WMV": "asf"}
READ = (*ANIMATIONS, *CONTAINERS)
UNREAD = "videos of kinds that are not read: convert them to MP4 or GIF"
OTHERS = "files other than videos, which are not read"

SUFFIXES = {
    **{".gif": "GIF", ".webp": "WebP", ".png": "PNG", ".apng": "PNG"},
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".qt", ".3gp"), "MP4"),
    **dict.fromkeys((".webm", ".mkv"), "WebM"),
    **dict.fromkeys((".mpg", ".mpeg", ".vob"), "MPEG"),
    **dict.fromkeys((".ts", ".mts", ".m2ts"), "MPEG-TS"),
    **{".avi": "AVI", ".flv": "FLV", ".wmv": "WMV", ".asf": "WMV"},
    **{".ogv": "Ogg video", ".rm": "RealMedia", ".swf": "Flash", ".y4m": "YUV4MPEG"},
}
SIGNATURES = {
    b"GIF8": "GIF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\x1a\x45\xdf\xa3": "WebM",
    b"\0\0\x01\xba": "MPEG",
    b"FLV\x01": "FLV",
    b"0&\xb2u": "WMV",
    b"YUV4MPEG2": "YUV4MPEG",
    b".RMF": "RealMedia",
}
# Brands of MPEG-4 containers that hold still pictures or sounds.
NO_VIDEO = (b"avif", b"heic", b"mif1", b"M4A ", b"crx ")
# Browsers show a frame that long which says that it takes no time.
NO_DELAY = 0.1


def kind_by_content(head: bytes) -> str:
    """Returns the kind of a video, such as "GIF" or "MP4", from its first `HEAD` bytes; "" for none."""
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "AVI"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return "" if head[8:12] in NO_VIDEO else "MP4"
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), "")


def kind_of_file(path: Path) -> str:
    """Returns the kind of video that a file is by its name, or by its first bytes where that says nothing."""
    return kind_by_name(path, SUFFIXES, kind_by_content)


def reason_against(path: Path) -> str:
    """Tells why a file of a folder is not read as a video; "" when it is."""
    kind = kind_of_file(path)
    if kind in READ:
        return ""
    return UNREAD if kind else OTHERS


def why_undecodable(encoded: bytes) -> str:
    """Says of bytes that could not be decoded what is wrong with them."""
    return fault_of(encoded, kind_by_content(encoded[:HEAD]), READ, "a video", "convert it to MP4 or GIF")


def delays(encoded: bytes) -> list[float]:
    """Returns the seconds of each frame of an animation: one of a still picture.

    Args:
        encoded: a GIF, WebP or PNG.

    Raises:
        ValueError: when it ends before its end.
    """
    walk: Callable[[bytes], Iterator[float]] = {"GIF": _of_gif, "WebP": _of_webp, "PNG": _of_png}[
        kind_by_content(encoded[:HEAD])
    ]
    try:
        return [seconds or NO_DELAY for seconds in walk(encoded)]
    except IndexError as error:
        raise ValueError(why_undecodable(encoded)) from error


def _of_gif(encoded: bytes) -> Iterator[float]:
    """Walks over the blocks of a GIF (GIF89a, sections 18 to 27)."""
    at, seconds = 13 + _colours(encoded[10]), 0.0
    while encoded[at] != 0x3B:
        if encoded[at] == 0x21:
            if encoded[at + 1] == 0xF9:
                seconds = int.from_bytes(encoded[at + 4 : at + 6], "little") / 100
            at = _after_blocks(encoded, at + 2)
        elif encoded[at] == 0x2C:
            yield seconds
            at = _after_blocks(encoded, at + 11 + _colours(encoded[at + 9]))
        else:
            raise IndexError


def _colours(flags: int) -> int:
    return 3 * 2 ** (flags % 8 + 1) if flags >= 128 else 0


def _after_blocks(encoded: bytes, at: int) -> int:
    while encoded[at]:
        at += 1 + encoded[at]
    return at + 1


def _of_webp(encoded: bytes) -> Iterator[float]:
    """Walks over the chunks of a WebP (RFC 9649)."""
    if len(encoded) < 8 + int.from_bytes(encoded[4:8], "little"):
        raise IndexError
    at, frames = 12, 0
    while at < len(encoded):
        if encoded[at : at + 4] == b"ANMF":
            yield int.from_bytes(encoded[at + 20 : at + 23], "little") / 1000
            frames += 1
        size = int.from_bytes(encoded[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    # One that says it is animated may hold none.
    if not frames and not (encoded[12:16] == b"VP8X" and encoded[20] & 2):
        yield 0.0


def _of_png(encoded: bytes) -> Iterator[float]:
    """Walks over the chunks of a PNG (third edition, section 11.3.6)."""
    at, frames = 8, 0
    while (name := encoded[at + 4 : at + 8]) != b"IEND":
        if name == b"fcTL":
            numerator, denominator = (
                int.from_bytes(encoded[at + place : at + place + 2]) for place in (28, 30)
            )
            yield numerator / (denominator or 100)
            frames += 1
        at += 12 + int.from_bytes(encoded[at : at + 4])
        if at + 8 > len(encoded):
            raise IndexError
    if not frames:
        yield 0.0

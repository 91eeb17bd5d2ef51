"""Which files are images, told by their names and their first bytes, without decoding any."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

# That many bytes tell the kind of a file.
HEAD = 64
READ = ("JPEG", "PNG", "GIF", "BMP", "WebP")
UNREAD = "images of kinds that are not read: convert them to JPEG or PNG"
OTHERS = "files other than images, which are not read"
# What is decoded is held in memory as a whole.
MAX_BYTES = 512 * 2**20

SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **{".png": "PNG", ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP", ".webp": "WebP"},
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    **{".avif": "AVIF", ".jxl": "JPEG XL", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000"},
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), "raw photograph"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "Netpbm"),
    **{".svg": "SVG", ".psd": "PSD", ".ico": "ICO", ".tga": "TGA", ".dcm": "DICOM", ".exr": "OpenEXR"},
}
SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "PSD",
    b"\0\0\1\0": "ICO",
    b"v/1\1": "OpenEXR",
    b"<svg": "SVG",
    b"%PDF-": "PDF",
    **{f"P{form}{blank}".encode(): "Netpbm" for form in range(1, 8) for blank in " \n\r\t"},
}

HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
# Where, and in how many bytes, a BMP tells the size of its header, the bits of a pixel, and its compression.
HEADER_OF_BMP = ((14, 4), (28, 2), (30, 4))


def kind_by_content(head: bytes) -> str:
    """Returns the kind of an image, such as "JPEG" or "TIFF", from its first `HEAD` bytes; "" for none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        # Of both there are files whose first brand is that of the container alone.
        brands = head[8:HEAD]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIC" if any(brand in brands for brand in HEIC_BRANDS) else ""
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), "")


def kind_of_file(path: Path) -> str:
    """Returns the kind of image that a file is by its name, or by its first bytes where that says nothing.

    Files that cannot be opened count by their names alone.
    """

    def by_content(head: bytes) -> str:
        kind = kind_by_content(head)
        # Two letters are found at the beginning of many a text.
        return "" if kind == "BMP" else kind

    return kind_by_name(path, SUFFIXES, by_content)


def fault_of(encoded: bytes, kind: str, read: Collection[str], noun: str, remedy: str) -> str:
    """Says of bytes that could not be decoded what is wrong with them.

    Args:
        encoded: the bytes.
        kind: what they are by their beginning, "" for none.
        read: the kinds that are decoded.
        noun: what they were to be, with its article.
        remedy: what to do with another kind.
    """
    if not encoded:
        return "empty file"
    if not kind:
        return f"not {noun}"
    return f"truncated or corrupt {kind}" if kind in read else f"{kind}, which is not read: {remedy}"


def kind_by_name(path: Path, suffixes: Mapping[str, str], by_content: Callable[[bytes], str]) -> str:
    """Returns the kind of a file by its name, or where that says nothing by its first `HEAD` bytes."""
    kind = suffixes.get(path.suffix.lower())
    if kind is not None:
        return kind
    try:
        with open(path, "rb") as file:
            return by_content(file.read(HEAD))
    except OSError:
        return ""


def reason_against(path: Path) -> str:
    """Tells why a file of a folder is not read as an image; "" when it is."""
    kind = kind_of_file(path)
    if kind in READ:
        return ""
    return UNREAD if kind else OTHERS


def why_undecodable(encoded: bytes) -> str:
    """Says of bytes that could not be decoded what is wrong with them."""
    kind = kind_by_content(encoded[:HEAD])
    if kind == "BMP" and _is_rare_bmp(encoded[:HEAD]):
        return "a BMP of a kind that is not read (compressed, of 16 bits, or of OS/2): convert it to PNG"
    return fault_of(encoded, kind, READ, "an image", "convert it to JPEG or PNG")


def _is_rare_bmp(head: bytes) -> bool:
    """Tells of the first bytes of a BMP whether its header says what no decoder here reads."""
    header, bits, compression = (int.from_bytes(head[at : at + size], "little") for at, size in HEADER_OF_BMP)
    return len(head) >= 34 and (header < 40 or bits not in (1, 4, 8, 24, 32) or compression in (1, 2, 4, 5))

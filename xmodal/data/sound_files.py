"""Which files are sounds, told by their names and first bytes; and FLAC and OGG made WAV by a library."""

import io
from pathlib import Path

from xmodal.core.versions import optional_package
from xmodal.data.image_files import HEAD, fault_of, kind_by_name

READ = ("WAV", "FLAC", "OGG")
UNREAD = "sounds of kinds that are not read: convert them to WAV or FLAC"
OTHERS = "files other than sounds, which are not read"
MAX_BYTES = 512 * 2**20

SUFFIXES = {
    **{".wav": "WAV", ".wave": "WAV", ".flac": "FLAC"},
    **dict.fromkeys((".ogg", ".oga", ".opus"), "OGG"),
    **{".mp3": "MP3", ".m4a": "MPEG-4", ".mp4": "MPEG-4", ".aac": "AAC", ".wma": "WMA", ".amr": "AMR"},
    **{".webm": "WebM", ".mka": "Matroska", ".caf": "CAF", ".au": "AU", ".snd": "AU"},
    **dict.fromkeys((".aif", ".aiff", ".aifc"), "AIFF"),
}
SIGNATURES = {
    b"fLaC": "FLAC",
    b"OggS": "OGG",
    b"ID3": "MP3",
    b"\xff\xfb": "MP3",
    b"\xff\xf3": "MP3",
    b"\xff\xf1": "AAC",
    b"FORM": "AIFF",
    b"#!AMR": "AMR",
    b".snd": "AU",
    b"caff": "CAF",
    b"\x1a\x45\xdf\xa3": "WebM",
    b"0&\xb2u": "WMA",
}
# Samples that a library read, in the form in which they lose nothing.
SUBTYPES = {"PCM_S8": "PCM_16", "PCM_U8": "PCM_16", "PCM_16": "PCM_16", "PCM_24": "PCM_24"}


def kind_by_content(head: bytes) -> str:
    """Returns the kind of a sound, such as "WAV" or "MP3", from its first `HEAD` bytes; "" for none."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[4:8] == b"ftyp":
        return "MPEG-4"
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), "")


def kind_of_file(path: Path) -> str:
    """Returns the kind of sound that a file is by its name, or by its first bytes where that says nothing."""
    return kind_by_name(path, SUFFIXES, kind_by_content)


def reason_against(path: Path) -> str:
    """Tells why a file of a folder is not read as a sound; "" when it is."""
    kind = kind_of_file(path)
    if kind in READ:
        return ""
    return UNREAD if kind else OTHERS


def why_undecodable(encoded: bytes) -> str:
    """Says of bytes that could not be decoded what is wrong with them."""
    return fault_of(encoded, kind_by_content(encoded[:HEAD]), READ, "a sound", "convert it to WAV or FLAC")


def as_wav(encoded: bytes, max_seconds: float = 0.0) -> bytes:
    """Returns a FLAC or OGG as a WAV, by the package soundfile; anything else as it is.

    Args:
        encoded: a sound.
        max_seconds: longer ones are not decoded; 0 for no limit.

    Raises:
        UserError: when the package is not installed.
        ValueError: when the sound cannot be decoded.

    Example:
        >>> as_wav(b"RIFF....WAVE") == b"RIFF....WAVE"
        True
    """
    if kind_by_content(encoded[:HEAD]) not in ("FLAC", "OGG"):
        return encoded
    soundfile = library()
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as file:
            subtype, rate = SUBTYPES.get(file.subtype, "FLOAT"), file.samplerate
            if max_seconds and file.frames > max_seconds * rate:
                raise ValueError(f"too long: {file.frames / rate:,.0f} seconds")
            samples = file.read(dtype="float32" if subtype == "FLOAT" else "int32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(why_undecodable(encoded)) from error
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate, subtype, format="WAV")
    return wav.getvalue()


def library():
    """Returns the package soundfile, which is imported at the first call.

    Raises:
        UserError: when it is not installed.
    """
    remedy = "pip install -c constraints.txt -e '.[sound]', or convert them to WAV"
    return optional_package("soundfile", "FLAC and OGG", remedy)

"""What to do with files of kinds that nothing here reads."""

from pathlib import Path

SPREADSHEETS = "save it as CSV in UTF-8 in the program that made it"
ADVICE = {
    **dict.fromkeys((".xls", ".ods", ".numbers"), SPREADSHEETS),
    ".feather": "give the file a name that ends in .arrow",
    ".ndjson": "give the file a name that ends in .jsonl",
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz"), "unpack it, and give the folder"),
    **dict.fromkeys(
        (".wav", ".flac", ".ogg"), "run experiments/sound_to_text.cfg with `dataset=sounds:` and the folder"
    ),
    **dict.fromkeys(
        (".mp4", ".mov", ".webm", ".avi", ".mkv"),
        "run experiments/vgg_to_bert.cfg with `dataset=videos:` and the folder",
    ),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".html"), "save it as a .txt file in a folder"),
}


def ending_of(path: Path) -> str:
    """Returns the ending of a file's name in small letters, that before .gz where it is packed."""
    endings = [ending for ending in path.suffixes[-2:] if ending.lower() != ".gz"]
    return endings[-1].lower() if endings else ""


def advice_for(path: Path, otherwise: str) -> str:
    """Returns what to do with a file that is not read, by the ending of its name.

    Args:
        path: the file.
        otherwise: what is said of all other endings.
    """
    return ADVICE.get(ending_of(path), otherwise)

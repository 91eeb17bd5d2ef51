"""Brings the assets that a run needs into the cache, and says what is there.

    python -m xmodal.fetch minilm_l6 mnist_5k
    python -m xmodal.fetch --flagfile=experiments/vgg_to_bert.cfg

Any flag of `python -m xmodal.run` may stand here too: without names, or with a flagfile, the assets are
those which that run would use.
"""

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.assets.catalog import ASSETS, needed_assets
from xmodal.assets.fetch import ManifestEntry, manifest
from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.core.command import Parser, exit_code
from xmodal.core.console import log, log_error
from xmodal.core.files import cache_folder, folder_bytes, os_errors_as_user_errors
from xmodal.runs import provenance


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted.

    Args:
        argv: the program's name, then its arguments.
    """
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    options, other_arguments = _parser().parse_known_args(arguments)
    # What is left when the flags of a run are parsed away are the names of assets.
    names = flags.parse(["xmodal.fetch", *other_arguments])
    settings = flags.from_flags()
    cache = cache_folder()
    if options.cache_info:
        log(_sizes_table(cache))
    elif options.clear_cache:
        freed_bytes = _clear(cache / "features")
        log(f"{_megabytes(freed_bytes)} MB freed in {cache / 'features'}")
    else:
        if not names or any(word.lstrip("-").startswith("flagfile") for word in other_arguments):
            names += [name for name in _of_run(settings) if name not in names]
        entries = manifest(names, cache=cache, offline=settings.run.offline)
        log(_as_json(entries) if options.json else _manifest_table(entries))


def _of_run(settings: Config) -> list[str]:
    """The named assets of a run; what else its flags name is said, since it is not fetched here."""
    made_from = provenance.of_run(settings)
    names = needed_assets(*(part.value for part in made_from))
    for part in made_from:
        if part.value not in names:
            log_error(f"--{part.flag}={part.value} is no named asset: left to the run itself")
    return names


def _parser() -> Parser:
    parser = Parser(
        "xmodal.fetch",
        __doc__,
        usage="%(prog)s [NAME ...] [--flagfile=FILE] [--offline] [--json | --cache_info | --clear_cache]",
        epilog="\n".join(
            ["assets:", *(f"  {asset.name:<16}{asset.description}" for asset in ASSETS.values())]
        ),
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="print the manifest as JSON")
    group.add_argument("--cache_info", action="store_true", help="print the size of the cache by part")
    group.add_argument("--clear_cache", action="store_true", help="empty the cache of features, only")
    return parser


def _manifest_table(entries: Sequence[ManifestEntry]) -> str:
    rows = [
        (entry.name, entry.source, _megabytes(sum(file.bytes for file in entry.files)), entry.licence)
        for entry in entries
    ]
    lines = _table(("name", "source", "MB", "licence"), rows)
    folders = _table(("name", "folder"), [(entry.name, entry.folder) for entry in entries])
    return "\n".join([*lines, "", *folders])


def _as_json(entries: Sequence[ManifestEntry]) -> str:
    return json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2)


def _sizes_table(cache: Path) -> str:
    """The parts of the cache: each asset, and every other folder beside the assets."""
    parts = [*_folders(cache / "assets"), *(part for part in _folders(cache) if part.name != "assets")]
    rows = [(str(part.relative_to(cache)), _megabytes(folder_bytes(part))) for part in parts]
    rows.append(("total", _megabytes(sum(map(folder_bytes, parts)))))
    return "\n".join([f"cache: {cache}", "", *_table(("part", "MB"), rows)])


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _clear(folder: Path) -> int:
    """Empties a folder, and returns how many bytes it held."""
    freed_bytes = folder_bytes(folder)
    with os_errors_as_user_errors(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return freed_bytes


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell; numbers stand right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if name == "MB" else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv))

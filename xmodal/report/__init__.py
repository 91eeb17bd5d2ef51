"""Everything a run leaves that people look at, made from result dataclasses and never from models.

`records` says what there is to tell, `tables` puts it into numbers, `figures` into plots, `page` into
report.html and `summaries` into TensorBoard's files.
"""

import re
from pathlib import Path

from xmodal.core.files import atomic_write, write_json, write_text
from xmodal.core.machine import commit, hardware, versions
from xmodal.data import image_files, sound_files, video_files
from xmodal.data.image_files import HEAD
from xmodal.report.epochs import EpochWriter, read_lines, write_lines
from xmodal.report.model_card import card
from xmodal.report.page import html
from xmodal.report.records import GalleryItem, Plot, Points, Run, Series, Table, gallery_items
from xmodal.report.tables import console_table, epochs_of, metrics, transfer_table
from xmodal.report.tensorboard.events import write_tensorboard

# Of test images that are left beside the report, to try the model with.
MAX_EXAMPLES = 10
# How the JSON ends that --record writes.
RECORD = re.compile(rb'"wall_seconds": [0-9.e+-]+\n\}\n\Z')

__all__ = [
    "RECORD",
    "EpochWriter",
    "GalleryItem",
    "Plot",
    "Points",
    "Run",
    "Series",
    "Table",
    "card",
    "console_table",
    "gallery_items",
    "hardware",
    "html",
    "metrics",
    "record",
    "transfer_table",
    "versions",
    "write",
    "write_tensorboard",
]


def write(run: Run, folder: Path) -> None:
    """Writes transfer.json (of a run with a transfer), metrics.jsonl, report.html, metrics.json, examples/.

    examples/ has the first test images of the gallery, or sounds or videos, as they were read. Each file
    appears only when whole, and metrics.json last: where it stands, the run is finished.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    if run.transfer is not None:
        write_json(folder / "transfer.json", transfer_table(run.transfer))
    write_lines(read_lines(folder) | epochs_of(run), folder)
    # Those that are answered rightly come first.
    items = sorted(run.gallery, key=lambda item: item.kind not in ("right", "unknown"))[:MAX_EXAMPLES]
    for index, item in enumerate(items, 1):
        content = item.original or item.png
        with atomic_write(folder / "examples" / f"{index}.{_ending(content[:HEAD])}") as file:
            file.write(content)
    write_text(folder / "report.html", html(run))
    write_json(folder / "metrics.json", metrics(run))


def _ending(head: bytes) -> str:
    kinds = (part.kind_by_content(head) for part in (image_files, video_files, sound_files))
    return next(filter(None, kinds), "").lower().replace("jpeg", "jpg")


def record(run: Run, path: Path, wall_seconds: float, *, overwrite: bool = False) -> None:
    """Writes a run's figures with all that is needed to trust or repeat them: flags, commit, machine, time.

    Args:
        run: the finished run.
        path: such as experiments/results/NAME.json.
        wall_seconds: from the start of the program.
        overwrite: replace a file that is no record.

    Raises:
        UserError: when something else stands there; when there is no space, or no permission to write.
    """
    flags = run.flags.splitlines()
    record = {**metrics(run), "flags": flags, "commit": commit(), "wall_seconds": wall_seconds}
    write_json(path, record, RECORD, overwrite=overwrite)

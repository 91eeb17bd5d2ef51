"""The ImageNet weights of EfficientNet-Lite0, from a file that torch wrote before it wrote zips.

Such a file is five pickles - a magic number, a version, the sizes of C's types, the dict of tensors, and the
keys of their storages in order - and then, for each storage, the number of its values (int64) and the values.
A pickle is a program, so it is never run here: `pickletools` of the standard library only takes it apart, and
the few instructions that a dict of tensors is made of are followed by hand.
"""

import io
import math
import pickletools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xmodal.core.errors import UserError

EFFICIENTNET_LITE0_FILE = "efficientnet-lite0-57934424.pth"

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_FLOAT, _LONG = np.dtype("<f4"), np.dtype("<i8")
# All that a pickle may name, and what stands for it: nothing is imported.
_GLOBALS: dict[str, Any] = {
    "torch FloatStorage": _FLOAT,
    "torch LongStorage": _LONG,
    "torch._utils _rebuild_tensor_v2": "tensor",
    "collections OrderedDict": "dict",
}
# The file has 296 tensors, of at most 1.28 million values, in about 11,000 instructions.
_FILE_LIMIT, _INSTRUCTION_LIMIT, _RANK_LIMIT = 64 * 2**20, 100_000, 8


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's values are: the key of a run of `size` values."""

    key: str
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class _Tensor:
    """A storage from `offset` on, seen in a shape; a step along an axis is a stride of values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Lies on the stack below what belongs together."""


def efficientnet_lite0_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads the weights of EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946) trained on ImageNet.

    Args:
        folder: what `locate("efficientnet_lite0_imagenet", ...)` returned.

    Returns:
        The names that the file gives them, such as "_blocks.0._depthwise_conv.weight" -> float32, with the
        channels out of a convolution first (out, in, height, width).

    Raises:
        UserError: for a file that is not what it should be.
    """
    return read_tensors(folder / EFFICIENTNET_LITE0_FILE)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a dict of tensors that torch saved in its old format, without running anything of it.

    Args:
        path: the file, of 64 MiB at most.

    Returns:
        Name -> float32 or int64.

    Raises:
        UserError: for a file that is broken, too large, or holds anything else than such a dict.
    """
    try:
        if path.stat().st_size > _FILE_LIMIT:
            raise ValueError(f"it has more than {_FILE_LIMIT} bytes")
        file = io.BytesIO(path.read_bytes())
        _check_header(file)
        tensors, keys = _unpickle(file), _unpickle(file)
        return dict(_fill_tensors(tensors, keys, file))
    except OSError as error:
        problem = f"the weights in {str(path)!r} cannot be read ({error.strerror})"
        raise UserError(problem, "fetch them again with `python -m xmodal.fetch`") from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"{str(path)!r} holds no dict of tensors in torch's old format ({reason})"
        raise UserError(problem, "fetch it again with `python -m xmodal.fetch`") from error


def _check_header(file: io.BytesIO) -> None:
    magic, version, types = _unpickle(file), _unpickle(file), _unpickle(file)
    if magic != _MAGIC or version != _VERSION or types.get("little_endian") is not True:
        raise ValueError("its first bytes are those of something else")


def _fill_tensors(tensors: Any, keys: Any, file: io.BytesIO) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors with their values, which follow in the order of the keys."""
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError("it holds something else")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    # Strings alone: what nests into itself would take for ever to hash.
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("the keys of its values are no strings")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise ValueError("its tensors and its values do not go together")
    values = {key: _values(file, storages[key]) for key in keys}
    for name, tensor in tensors.items():
        flat_values = values[tensor.storage.key][tensor.offset :]
        strides = [stride * flat_values.itemsize for stride in tensor.strides]
        yield name, np.lib.stride_tricks.as_strided(flat_values, tensor.shape, strides, writeable=False)


def _values(file: io.BytesIO, storage: _Storage) -> np.ndarray:
    count = file.read(8)
    if len(count) < 8 or struct.unpack("<q", count)[0] != storage.size:
        raise ValueError(f"the values {storage.key!r} are not as many as they should be")
    content = file.read(storage.size * storage.dtype.itemsize)
    if len(content) < storage.size * storage.dtype.itemsize:
        raise ValueError(f"the values {storage.key!r} end too early")
    return np.frombuffer(content, storage.dtype).astype(storage.dtype.newbyteorder("="), copy=False)


def _unpickle(file: io.BytesIO) -> Any:
    """Follows one pickle, from where the file stands, and returns what it is about."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for number, (code, argument, _) in enumerate(pickletools.genops(file)):
        if number > _INSTRUCTION_LIMIT:
            raise ValueError(f"it has more than {_INSTRUCTION_LIMIT} instructions")
        if code.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif code.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif code.name in _CONSTANTS:
            stack.append(_CONSTANTS[code.name])
        elif code.name in _ARGUMENTS:
            stack.append(argument)
        elif code.name in _INSTRUCTIONS:
            _INSTRUCTIONS[code.name](stack, argument)
        elif code.name not in ("PROTO", "STOP"):
            raise ValueError(f"it has the instruction {code.name}, which no dict of tensors needs")
    if len(stack) != 1:
        raise ValueError("it ends in the middle")
    return stack[0]


def _name(stack: list[Any], name: str) -> None:
    if name not in _GLOBALS:
        raise ValueError(f"it asks for {name.replace(' ', '.')!r}, which no dict of tensors needs")
    stack.append(_GLOBALS[name])


def _since_mark(stack: list[Any]) -> list[Any]:
    mark = max(index for index, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[mark + 1 :]
    del stack[mark:]
    return items


def _tuple(stack: list[Any], length: int) -> None:
    parts = tuple(stack.pop() for _ in range(length))
    stack.append(parts[::-1])


def _set_items(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], dict) or not all(isinstance(key, str) for key in items[::2]):
        raise ValueError("it holds a dict of something else than strings")
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _append(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise ValueError("it puts items into what is no list")
    stack[-1].extend(items)


def _storage(stack: list[Any]) -> None:
    _, dtype, key, _, size, view = stack.pop()
    if not isinstance(dtype, np.dtype) or not _is_size(size) or not isinstance(key, str) or view is not None:
        raise ValueError("it holds values of an unknown kind")
    stack.append(_Storage(key, dtype, size))


def _call(stack: list[Any]) -> None:
    arguments, function = stack.pop(), stack.pop()
    if function == "dict" and arguments == ():
        stack.append({})
    elif function == "tensor":
        stack.append(_tensor(*arguments))
    else:
        raise ValueError("it calls something that no dict of tensors needs")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) > _RANK_LIMIT or not all(map(_is_size, sizes)):
        raise ValueError("it holds a tensor of an unknown kind")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= storage.size or math.prod(shape) > storage.size or not storage.size:
        raise ValueError("it holds a tensor with more values than there are")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _FILE_LIMIT


def _attributes(stack: list[Any]) -> None:
    """What torch notes beside the tensors: the versions of its modules, which nothing here reads."""
    stack.pop()


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

_ARGUMENTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}

_INSTRUCTIONS: dict[str, Callable[[list[Any], Any], Any]] = {
    "EMPTY_DICT": lambda stack, _: stack.append({}),
    "EMPTY_LIST": lambda stack, _: stack.append([]),
    "EMPTY_TUPLE": lambda stack, _: stack.append(()),
    "MARK": lambda stack, _: stack.append(_Mark()),
    "GLOBAL": _name,
    "TUPLE": lambda stack, _: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": lambda stack, _: _tuple(stack, 1),
    "TUPLE2": lambda stack, _: _tuple(stack, 2),
    "SETITEM": lambda stack, _: _set_items(stack, [*_pair(stack)]),
    "SETITEMS": lambda stack, _: _set_items(stack, _since_mark(stack)),
    "APPENDS": lambda stack, _: _append(stack, _since_mark(stack)),
    "BINPERSID": lambda stack, _: _storage(stack),
    "REDUCE": lambda stack, _: _call(stack),
    "BUILD": lambda stack, _: _attributes(stack),
}


def _pair(stack: list[Any]) -> tuple[Any, Any]:
    value, key = stack.pop(), stack.pop()
    return key, value

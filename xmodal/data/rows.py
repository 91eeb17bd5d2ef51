"""Rows of numbers that may stay in files until they are asked for."""

import os
import weakref
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

BLOCK = 4096


class NpyRows:
    """The rows of a .npy file, read one by one.

    The file stays open: another process may remove its name.

    Args:
        file: an array (N, ...) as `numpy.save` writes it.
    """

    def __init__(self, file: BinaryIO):
        file.seek(0)
        np.lib.format.read_magic(file)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(file)
        self._first = file.tell()
        self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        for row, number in zip(rows, index.tolist(), strict=True):
            if os.preadv(self._file, [row], self._first + number * row.nbytes) != row.nbytes:
                raise OSError(f"the file of kept rows ends before row {number}")
        return rows


class ArrayShards:
    """Rows (N, ...) in parts that are held in memory or stored; memory has those that are asked for.

    Args:
        parts: at least one, of equal shapes but for the number of rows.
    """

    def __init__(self, parts: Iterable[np.ndarray | NpyRows]):
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])
        self.shape = (int(self._ends[-1]), *self.parts[0].shape[1:])
        self.dtype = self.parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Returns the rows (B, ...) with these numbers (B,), each from 0 to N - 1."""
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._ends, index, side="right")
        for number in np.unique(owner):
            part, mask = self.parts[number], owner == number
            rows[mask] = part[index[mask] - (self._ends[number] - len(part))]
        return rows

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields all rows, some thousands at a time."""
        for start in range(0, len(self), BLOCK):
            yield self[np.arange(start, min(start + BLOCK, len(self)))]

"""Weights of one network in another."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodal.transfer.weights import TransferReport, transfer_weights

__all__ = ["TransferReport", "transfer_weights"]


def __getattr__(name: str) -> Any:
    # Only when it is asked for, so that the package can be imported without TensorFlow.
    if name in __all__:
        return getattr(import_module("xmodal.transfer.weights"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""From probabilities to sentences of class names."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodal.bridge.bridge import Bridge

__all__ = ["Bridge"]


def __getattr__(name: str) -> Any:
    # Only when it is asked for, so that the package can be imported without TensorFlow.
    if name in __all__:
        return getattr(import_module("xmodal.bridge.bridge"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Cross-modal transfer learning with Keras 3 on TensorFlow.

The names below are imported when they are first used, so that `import xmodal` itself is fast.
"""

import importlib
import os as _os
from typing import TYPE_CHECKING, Any

# Keras reads its backend when it is first imported; xmodal's loops are written for TensorFlow.
_os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xmodal.bridge.bridge import Bridge
    from xmodal.config.data import SplitConfig
    from xmodal.config.image import ImageConfig
    from xmodal.config.text import TextConfig
    from xmodal.config.training import TrainConfig
    from xmodal.core.errors import UserError
    from xmodal.data.documents import load_documents
    from xmodal.data.images import load_images
    from xmodal.data.pairs import load_pairs
    from xmodal.evaluation.calibration import fit_temperature
    from xmodal.evaluation.intervals import compare_paired
    from xmodal.evaluation.metrics import evaluate
    from xmodal.export.predictor import Predictor
    from xmodal.export.saved_model import export_saved_model
    from xmodal.export.served_images import ServedImages
    from xmodal.models.image_backbones import image_backbone
    from xmodal.models.text_encoder import text_encoder
    from xmodal.tasks.image_classifier import ImageClassifier
    from xmodal.tasks.text_classifier import TextClassifier, train_text_classifier
    from xmodal.training.trainer import Trainer
    from xmodal.transfer.weights import TransferReport, transfer_weights

_MODULES = {
    "Bridge": "bridge.bridge",
    "ImageClassifier": "tasks.image_classifier",
    "ImageConfig": "config.image",
    "Predictor": "export.predictor",
    "ServedImages": "export.served_images",
    "SplitConfig": "config.data",
    "TextClassifier": "tasks.text_classifier",
    "TextConfig": "config.text",
    "TrainConfig": "config.training",
    "Trainer": "training.trainer",
    "TransferReport": "transfer.weights",
    "UserError": "core.errors",
    "compare_paired": "evaluation.intervals",
    "evaluate": "evaluation.metrics",
    "export_saved_model": "export.saved_model",
    "fit_temperature": "evaluation.calibration",
    "image_backbone": "models.image_backbones",
    "load_documents": "data.documents",
    "load_images": "data.images",
    "load_pairs": "data.pairs",
    "text_encoder": "models.text_encoder",
    "train_text_classifier": "tasks.text_classifier",
    "transfer_weights": "transfer.weights",
}
__all__ = [
    "Bridge",
    "ImageClassifier",
    "ImageConfig",
    "Predictor",
    "ServedImages",
    "SplitConfig",
    "TextClassifier",
    "TextConfig",
    "TrainConfig",
    "Trainer",
    "TransferReport",
    "UserError",
    "compare_paired",
    "evaluate",
    "export_saved_model",
    "fit_temperature",
    "image_backbone",
    "load_documents",
    "load_images",
    "load_pairs",
    "text_encoder",
    "train_text_classifier",
    "transfer_weights",
]


# Those that need no TensorFlow, or start it themselves when they are used.
_LIGHT = ("core", "config", "evaluation", "export.predictor")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _MODULES[name].startswith(_LIGHT):
        # Otherwise TensorFlow writes, into a notebook too, that there is no GPU.
        from xmodal.core.tensorflow_start import start_tensorflow

        start_tensorflow()
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

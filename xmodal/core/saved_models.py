"""Exports of xmodal on disk: which version is the newest, and which signature answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmodal.core.errors import UserError
from xmodal.core.sums import check_sums
from xmodal.core.tensorflow_start import start_tensorflow


def newest_version(folder: Path, label: str) -> Path:
    """Returns the folder of a SavedModel: the given one, or the newest of the versions in it.

    Args:
        folder: of an export, or the one above it.
        said: what the user called it, for the message.

    Raises:
        UserError: when it holds none.
    """
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [path for path in folder.glob("*/saved_model.pb") if path.parent.name.isdecimal()]
    if not versions:
        raise UserError(f"{label} holds no model", "give the folder of an export, such as saved_models/NAME")
    return max(versions, key=lambda path: int(path.parent.name)).parent


def load_export(folder: Path) -> Any:
    """Loads a SavedModel that a run exported; its `signatures` answer.

    Raises:
        UserError: when it is damaged, cannot be loaded, or is not of xmodal.
    """
    check_sums(folder, "export the model again")
    start_tensorflow("3")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers the ops of the tokenizer

    try:
        model = tf.saved_model.load(str(folder))
    # What TensorFlow says of a model that it cannot load may be anything.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"the model in {str(folder)!r} cannot be loaded ({reason})", "export it again"
        ) from error
    if "labels" not in model.signatures:
        raise UserError(
            f"the model in {str(folder)!r} has no signature 'labels': xmodal did not export it",
            "give a folder of saved_models/",
        )
    return model


def labels_of(signatures: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the labels, in the order of the probabilities."""
    return tuple(label.decode() for label in signatures["labels"]()["labels"].numpy())


def find_signature(signatures: Mapping[str, Any], *names: str) -> Any:
    """Returns the signature that answers exactly these inputs, None without one."""
    for signature in signatures.values():
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if set(inputs) == set(names) and "label" in outputs:
            return signature
    return None

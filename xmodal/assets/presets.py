"""Where a text encoder is: a named asset, a folder, or a preset of a hub."""

import os
from collections.abc import Mapping
from pathlib import Path

from xmodal.assets.catalog import ASSETS, E5_FILE
from xmodal.assets.fetch import locate, short_reason
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import path_of


def text_encoder_path(name_or_path: str, *, cache: Path, offline: bool = False) -> str:
    """Returns what `text_encoder.text_encoder` reads for a text encoder.

    Args:
        name_or_path: a named asset, a folder with a preset (KerasHub's or Hugging Face's layout), a
            preset of KerasHub such as "bert_tiny_en_uncased", or "hf://..." or "kaggle://...".
        cache: the folder of fetched assets.
        offline: make no attempt to reach anything; a preset that the hub's own client keeps in its own
            cache still works.

    Returns:
        A folder, or the preset as it was given, which KerasHub fetches when it loads it.

    Raises:
        UserError: for an unknown name, a folder without a preset, or one that cannot be had offline.
    """
    if name_or_path in _text_encoders():
        return str(locate(name_or_path, cache=cache, offline=offline))
    is_handle = _is_handle(name_or_path, f"`text_encoder={name_or_path}`")
    folder = path_of(name_or_path).absolute()
    if not is_handle and (folder.is_dir() or "/" in name_or_path):
        fault = _preset_fault(folder)
        if fault:
            raise UserError(
                f"`text_encoder={name_or_path}` cannot be used: {fault}",
                "give a folder that holds a preset with its weights",
            )
        return str(folder)
    handle = name_or_path if is_handle else _builtin_preset(name_or_path)
    if not offline:
        return name_or_path
    remedy = f"run once without `offline` or use {' or '.join(_text_encoders())}"
    return _kept_preset(f"`text_encoder={name_or_path}`", handle, remedy)


def image_classifier_path(name_or_path: str, *, offline: bool = False) -> str:
    """Returns what `keras_nlp.models.ImageClassifier.from_preset` reads for an image classifier.

    Args:
        name_or_path: a folder with a preset, a preset of KerasHub such as "resnet_50_imagenet", or "hf://..."
            or "kaggle://...".
        offline: make no attempt to reach anything; what the hub's own client keeps still works.

    Raises:
        UserError: for a folder without a preset, or one that cannot be had offline.
    """
    import keras_nlp

    return _hub_path(
        name_or_path,
        f"the image classifier {name_or_path!r}",
        keras_nlp.models.ImageClassifier.presets,
        "run once where the hub can be reached or use efficientnet_lite0_imagenet",
        offline=offline,
    )


def image_backbone_path(name: str, *, offline: bool = False) -> str | None:
    """Returns what `keras_hub.models.Backbone.from_preset` reads for an image backbone.

    Args:
        name: "keras_hub:" and a preset of KerasHub or a folder with one; such a folder alone; "hf://..."; or
            "kaggle://...".
        offline: make no attempt to reach anything; what the hub's own client keeps still works.

    Returns:
        A folder, a preset or a handle; None for a name that is none of these.

    Raises:
        UserError: for a preset that is not known, a folder without one, or one that cannot be had offline.
    """
    scheme, hub_prefix, preset = name.partition("keras_hub:")
    if scheme or not hub_prefix:
        preset = name
    if not hub_prefix and "://" not in name and not (path_of(name) / "config.json").is_file():
        return None
    import keras_nlp

    label = f"the image backbone {name!r}"
    presets = keras_nlp.models.Backbone.presets
    if "://" not in preset and not path_of(preset).is_dir() and preset not in presets:
        raise UserError(f"{label} is neither a preset of KerasHub nor a folder", nearest(preset, presets))
    remedy = "run once where the hub can be reached or give a folder"
    return _hub_path(preset, label, presets, remedy, offline=offline)


def _hub_path(
    name_or_path: str, label: str, presets: Mapping[str, dict], remedy: str, *, offline: bool
) -> str:
    """A folder with a preset; or a preset or handle, or where the hub's client keeps it."""
    is_handle = _is_handle(name_or_path, label)
    folder = path_of(name_or_path).absolute()
    if not is_handle and folder.is_dir():
        fault = _preset_fault(folder)
        if fault:
            raise UserError(f"{label} cannot be used: {fault}", "give a folder that holds its weights too")
        return str(folder)
    handle = name_or_path if is_handle else presets[name_or_path]["kaggle_handle"]
    return _kept_preset(label, handle, remedy) if offline else name_or_path


def _is_handle(name: str, label: str) -> bool:
    """Whether this is a handle of a hub."""
    scheme, separator, _ = name.partition("://")
    if separator and scheme not in ("hf", "kaggle"):
        raise UserError(f"{label} is of no known hub", "use hf:// or kaggle://")
    return bool(separator)


def _text_encoders() -> list[str]:
    marks = {"config.json", E5_FILE}
    return [name for name, asset in ASSETS.items() if marks & {file.name for file in asset.files}]


def _preset_fault(folder: Path) -> str | None:
    """What keeps a folder from being a preset that KerasHub reads, or None."""
    if not folder.is_dir():
        return f"there is no folder {str(folder)!r}"
    if not (folder / "config.json").is_file():
        return f"{str(folder)!r} holds no config.json"
    if not any(folder.glob("*.weights.h5")) and not any(folder.glob("*.safetensors")):
        return f"{str(folder)!r} holds no weights (*.weights.h5 or *.safetensors)"
    return None


def _builtin_preset(name: str) -> str:
    """The hub's handle of a preset that KerasHub knows by name."""
    import keras_nlp

    kinds = ("Bert", "Roberta", "DistilBert", "Albert", "Electra", "DebertaV3", "XLMRoberta", "FNet")
    presets = {
        preset: facts
        for kind in kinds
        for preset, facts in getattr(keras_nlp.models, f"{kind}Backbone").presets.items()
    }
    if name not in presets:
        raise UserError(f"`text_encoder={name}` is not known", nearest(name, [*_text_encoders(), *presets]))
    return presets[name]["kaggle_handle"]


def _kept_preset(label: str, handle: str, remedy: str) -> str:
    """The folder in which the hub's own client keeps a preset; nothing is reached for."""
    if handle.startswith("hf://"):
        fault, folder = _hugging_face_preset(handle.removeprefix("hf://"))
    else:
        cache = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
        folder = cache / "models" / handle.removeprefix("kaggle://")
        fault = _preset_fault(folder)
    if fault:
        raise UserError(f"{label} is not available offline: {fault}", remedy)
    return str(folder)


def _hugging_face_preset(repository: str) -> tuple[str | None, Path]:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(repository, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        return short_reason(error), Path()
    return _preset_fault(folder), folder

"""Where a text encoder is: a named asset, a folder, or a preset of a hub."""

import os
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
    scheme, found, _ = name_or_path.partition("://")
    if found and scheme not in ("hf", "kaggle"):
        raise UserError(f"--text_encoder={name_or_path} is of no known hub", "use hf:// or kaggle://")
    folder = path_of(name_or_path).absolute()
    if not found and (folder.is_dir() or "/" in name_or_path):
        fault = _preset_fault(folder)
        if fault:
            raise UserError(
                f"--text_encoder={name_or_path} cannot be used: {fault}",
                "give a folder that holds a preset with its weights",
            )
        return str(folder)
    handle = name_or_path if found else _builtin_preset(name_or_path)
    return _kept_preset(name_or_path, handle) if offline else name_or_path


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

    presets = keras_nlp.models.BertBackbone.presets
    if name not in presets:
        raise UserError(f"--text_encoder={name} is not known", nearest(name, [*_text_encoders(), *presets]))
    return presets[name]["kaggle_handle"]


def _kept_preset(name: str, handle: str) -> str:
    """The folder in which the hub's own client keeps a preset; nothing is reached for."""
    if handle.startswith("hf://"):
        fault, folder = _kept_by_hugging_face(handle.removeprefix("hf://"))
    else:
        kept = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
        folder = kept / "models" / handle.removeprefix("kaggle://")
        fault = _preset_fault(folder)
    if fault:
        raise UserError(
            f"--text_encoder={name} is not to be had offline: {fault}",
            f"run once without --offline or use {' or '.join(_text_encoders())}",
        )
    return str(folder)


def _kept_by_hugging_face(repository: str) -> tuple[str | None, Path]:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(huggingface_hub.snapshot_download(repository, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        return short_reason(error), Path()
    return _preset_fault(folder), folder

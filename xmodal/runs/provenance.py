"""The weights and data that a run is made from, by the flags that name them."""

import hashlib
from os.path import exists
from pathlib import Path

from xmodal.assets.catalog import ASSETS
from xmodal.config.conditions import idle_options
from xmodal.config.config import Config
from xmodal.config.experiments import EXPERIMENTS
from xmodal.core.files import digests, sha256_file, shipped_path
from xmodal.report.records import Ingredient


def of_run(config: Config) -> tuple[Ingredient, ...]:
    """Returns the weights and data that a run's experiment uses; "none" is nothing."""
    idle_names = idle_options(config)
    names = EXPERIMENTS[config.run.experiment].made_from
    values = {name: config.value(name) for name in names if name not in idle_names}
    return tuple(
        Ingredient(name, value, ASSETS[value].licence if value in ASSETS else "")
        for name, value in values.items()
        if value != "none"
    )


def digests_of_files(config: Config) -> dict[str, str]:
    """Returns the digests of the files and folders that flags name beside the data, by flag."""
    path_by_option: dict[str, str | Path | None] = {
        "target_map": config.text.target_map,
        "class_descriptions": config.scorer.class_descriptions,
        "base": config.image.base,
        "target": config.image.target,
        "image_weights": config.image.image_weights,
        "text_encoder": config.text.text_encoder,
        "speaker": config.names.speaker,
        "speaker_names": config.names.speaker_names,
        "answers": config.names.answers,
        "concepts": config.names.concepts,
        "concept_weights": config.names.concept_weights,
    }
    for name, _, path in (item.partition("=") for item in config.text.also_ask):
        path_by_option[f"also_ask={name}"] = shipped_path(path)
    paths = {f"--{flag}": Path(path) for flag, path in path_by_option.items() if path}
    return {flag: _digest(path) for flag, path in paths.items() if exists(path)}


def _digest(path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    return hashlib.sha256(repr(sorted(digests(path).items())).encode()).hexdigest()

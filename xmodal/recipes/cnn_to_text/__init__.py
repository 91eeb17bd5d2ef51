"""The experiment `cnn_to_text`."""

from xmodal.recipes.cnn_to_text.recipe import run

__all__ = ["run"]

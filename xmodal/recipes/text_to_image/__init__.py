"""The experiment `text_to_image`."""

from xmodal.recipes.text_to_image.recipe import run

__all__ = ["run"]

"""The experiment `vgg_to_bert`."""

from xmodal.recipes.vgg_to_bert.recipe import run

__all__ = ["run"]

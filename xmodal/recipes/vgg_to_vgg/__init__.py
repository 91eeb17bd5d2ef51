"""The experiment `vgg_to_vgg`."""

from xmodal.recipes.vgg_to_vgg.recipe import run

__all__ = ["run"]

"""The experiment `fusion`."""

from xmodal.recipes.fusion.recipe import run

__all__ = ["run"]

"""The experiment `names_to_answers`."""

from xmodal.recipes.names_to_answers.recipe import run

__all__ = ["run"]

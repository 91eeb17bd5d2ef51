"""Adaptive transfer: a search for the flags that fit the data, within a time."""

from xmodal.recipes.search.adapted import adapt_run

__all__ = ["adapt_run"]

"""The experiment `bert_news`."""

from xmodal.recipes.bert_news.recipe import run

__all__ = ["run"]

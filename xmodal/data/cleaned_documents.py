"""Documents and pairs with their texts cleaned or scrubbed, and what was removed."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from xmodal.data.documents import DocumentData
from xmodal.data.pairs import PairData
from xmodal.text.cleaning import prepare_texts
from xmodal.text.personal_data import MARKS

Data = TypeVar("Data", DocumentData, PairData)


@dataclass(frozen=True)
class Prepared(Generic[Data]):
    """Documents or pairs with clean texts, and what was taken out of these.

    Attributes:
        data: the documents or pairs.
        counts: mark -> split -> how many stand in it.
    """

    data: Data
    counts: dict[str, dict[str, int]]

    @property
    def facts(self) -> dict[str, int]:
        """How many marks stand in the place of personal data."""
        return {"personal data replaced by marks": sum(sum(count.values()) for count in self.counts.values())}


def prepare_documents(data: Data, *, scrub: bool, batch_size: int = 64) -> Prepared[Data]:
    """Cleans the texts of all splits; nothing of what was found is kept but its number.

    Args:
        data: the documents or pairs.
        scrub: put marks in the place of personal data too.
        batch_size: documents that are read together.
    """
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    texts, counts = prepare_texts(
        np.concatenate([split.texts for split in splits.values()]), scrub=scrub, batch_size=batch_size
    )
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    parts = dict(zip(splits, np.split(texts, ends), strict=True))
    sums = {name: part.sum(axis=0) for name, part in zip(splits, np.split(counts, ends), strict=True)}
    return Prepared(
        replace(
            data,
            train=replace(data.train, texts=parts["train"]),
            validation=replace(data.validation, texts=parts["validation"]),
            test=replace(data.test, texts=parts["test"]),
        ),
        {mark: {name: int(count[index]) for name, count in sums.items()} for index, mark in enumerate(MARKS)},
    )

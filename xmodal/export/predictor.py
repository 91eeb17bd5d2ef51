"""An exported model, asked for pictures and texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmodal.core.errors import UserError
from xmodal.core.saved_models import answering, labels_of, load_export, newest_version
from xmodal.data.image_files import why_undecodable

BATCH = 64


@dataclass(frozen=True)
class Item:
    """Something to answer.

    Attributes:
        name: how the answer names it.
        content: an encoded picture, or a text as UTF-8.
        is_text: which of the two.
        problem: why it is not asked; "" when it is.
        row: of an item from a table, what its columns hold.
    """

    name: str
    content: bytes
    is_text: bool
    problem: str = ""
    row: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a model says of an item.

    Attributes:
        item: its name.
        label: the most probable class.
        probability: of that class, 0 to 1.
        read: the text that the text model read, of a picture too; empty when the model does not tell.
        probabilities: class -> probability.
        problem: why there is no answer; everything else is empty then.
    """

    item: str
    label: str = ""
    probability: float = 0.0
    read: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    problem: str = ""


class Predictor:
    """An exported model, ready to answer.

    Args:
        folder: of a SavedModel that a run exported, or the one above it that holds its versions, of which
            the newest is taken.

    Raises:
        UserError: when there is no such model.

    Example:
        >>> predictor = Predictor(Path("exported"))
        >>> (answer,) = predictor([Item("a text", b"a photo of a cat", is_text=True)])
        >>> answer.label in ("animal", "plant")
        True
    """

    def __init__(self, folder: Path):
        self._folder = newest_version(folder, f"--model={str(folder)!r}")
        signatures = load_export(self._folder).signatures
        self.labels = [*labels_of(signatures)]
        self._images = answering(signatures, "image_bytes")
        self._texts = answering(signatures, "text")

    @property
    def takes_pictures(self) -> bool:
        """Whether the model answers a picture."""
        return self._images is not None

    @property
    def takes_texts(self) -> bool:
        """Whether the model answers a text."""
        return self._texts is not None

    def __call__(self, items: Sequence[Item]) -> Iterator[Answer]:
        """Answers items in their order, many at a time.

        Raises:
            UserError: for pictures when the model takes texts alone, and the other way round.
        """
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            answers = [Answer(item.name, problem=_problem(item)) for item in part]
            for is_text, ask in ((False, self._images), (True, self._texts)):
                places = [
                    place
                    for place, item in enumerate(part)
                    if item.is_text == is_text and not answers[place].problem
                ]
                if places and ask is None:
                    kind, other = ("texts", "pictures") if is_text else ("pictures", "texts")
                    raise UserError(
                        f"the model in {str(self._folder)!r} answers {other} and no {kind}, such as "
                        f"{part[places[0]].name!r}",
                        f"give it {other}",
                    )
                if places:
                    told = self._answers([part[place] for place in places], ask)
                    for place, answer in zip(places, told, strict=True):
                        answers[place] = answer
            yield from answers

    def _answers(self, items: Sequence[Item], ask: Any) -> list[Answer]:
        import tensorflow as tf

        (name,) = ask.structured_input_signature[1]
        asked = ask(**{name: tf.constant([item.content for item in items])})
        outputs = {key: value.numpy() for key, value in asked.items()}
        read = outputs.get("sentence", outputs.get("read", [b""] * len(items)))
        return [
            Answer(
                item.name,
                outputs["label"][row].decode(),
                float(outputs["probability"][row]),
                read[row].decode(),
                dict(zip(self.labels, map(float, outputs["probabilities"][row]), strict=True)),
            )
            for row, item in enumerate(items)
        ]


def _problem(item: Item) -> str:
    """Tells why an item cannot be answered; empty when it can."""
    if item.problem:
        return item.problem
    if item.is_text:
        try:
            item.content.decode()
        except UnicodeDecodeError as error:
            return f"no UTF-8 at byte {error.start}"
        return "" if item.content.strip() else "empty"
    import tensorflow as tf

    from xmodal.data.decoding import decoded_pixels

    try:
        decoded_pixels(item.content)
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return why_undecodable(item.content)
    return ""

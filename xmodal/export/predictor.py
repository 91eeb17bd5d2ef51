"""An exported model, asked for pictures, texts, and pairs of both, which may have sounds."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xmodal.bridge.name_answers import SCALE, similarities
from xmodal.core.errors import UserError
from xmodal.core.saved_models import find_signature, labels_of, load_export, newest_version
from xmodal.data import sound_files
from xmodal.data.target_map import Answers, describe_answers
from xmodal.evaluation.calibration import softmax
from xmodal.export.answers_in_words import require_apart, require_known
from xmodal.export.asked_media import asked_medium, outputs_of, sounds_beside

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
        text: a text as UTF-8 that belongs to a picture: a pair. `content` and `problem` are the picture's
            then, and `content` may be empty. None for a picture or a text alone.
        sound: one beside a picture, a text or both, for models that take all three; others do not read it.
    """

    name: str
    content: bytes
    is_text: bool
    problem: str = ""
    row: Mapping[str, str] = field(default_factory=dict)
    text: bytes | None = None
    sound: "Item | None" = None


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
        answers: the set that holds the right one as often as the run promised, likeliest first; None of an
            export that promises nothing.
        certainty: orders answers, for those above a threshold alone to be given; from 0 to 1, and no
            probability; None as before.
        unknown: the share of inputs of the known kind that are less strange, 0 to 1; None as before.
        verdict: both in words, such as "a cat or a dog" or
            "probably none of these; it looks most like a cat"; of several labels these in words.
        labels: of an export that gives several labels or none: those that are given, likeliest first; None
            of others.
    """

    item: str
    label: str = ""
    probability: float = 0.0
    read: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    answers: tuple[str, ...] | None = None
    certainty: float | None = None
    unknown: float | None = None
    verdict: str = ""
    labels: tuple[str, ...] | None = None

    @property
    def label_text(self) -> str:
        """The label; of several ones those that are given, with bars between, or "none"."""
        return self.label if self.labels is None else " | ".join(self.labels) or "none"


class Predictor:
    """An exported model, ready to answer.

    It is called with a list of pictures (their bytes, as a PNG or JPEG file holds them), texts (str) and
    pairs (bytes, str), and yields an `Answer` for each, in their order: `label`, `probability` (0 to 1),
    `probabilities` by label, `read`, the text that was read of it, and of an export with limits `answers`,
    `certainty`, `unknown` and `verdict`. What cannot be answered has a `problem` instead.

    Args:
        folder: of a SavedModel that a run or `export_saved_model` wrote, or the one above it that holds its
            versions, of which the newest is taken.

    Raises:
        UserError: when there is no such model, it is damaged, or xmodal did not export it; when called, for
            pictures where it takes texts alone, and the other way round.

    Example:
        >>> predictor = Predictor("exported")
        >>> predictor.labels
        ['animal', 'plant']
        >>> (answer,) = predictor(["a photo of a cat"])
        >>> answer.label in predictor.labels, answer.problem
        (True, '')
    """

    def __init__(self, folder: str | Path):
        self._folder = newest_version(Path(folder), f"`model={str(folder)!r}`")
        model = load_export(self._folder)
        self.labels = [*labels_of(model.signatures)]
        # What each signature takes.
        self.signatures = {
            name: tuple(sorted(signature.structured_input_signature[1]))
            for name, signature in model.signatures.items()
        }
        self.medium = asked_medium(model)
        self.answer_images = self.medium.answer
        self.answer_texts = outputs_of(find_signature(model.signatures, "text"))
        images = find_signature(model.signatures, self.medium.input_name)
        # Of a model that takes a sound beside an image and a text.
        self._sounds = sounds_beside(model)
        self.answer_pairs = (
            self._sounds.answer
            if self._sounds
            else outputs_of(find_signature(model.signatures, self.medium.input_name, "text"))
        )
        self._embed = outputs_of(model.signatures.get("embed_text"))
        # What made an answer, as far as the export tells it.
        self.explain_images = outputs_of(model.signatures.get("why"))
        self.explain_texts = outputs_of(model.signatures.get("why_text"))
        self._scale = float(model.scale) if hasattr(model, "scale") else SCALE
        image_outputs = images.structured_outputs if images else {}
        self._tells = next((name for name in ("embedding", "sentence") if name in image_outputs), "")

    @property
    def can_be_asked(self) -> bool:
        """Whether it answers what is asked in words, see `asked`."""
        return bool(self._embed and self._tells)

    def with_answers(self, answers: Answers | Mapping[str, Sequence[str]]) -> "Predictor":
        """Returns the same model with other answers, which it tells by where images and words are for BERT.

        An image is where the model says: at the mixture of its names, or at the sentence that it reads.

        Args:
            answers: answer -> texts that describe it, such as {"flies": ["a photo of a bird"], ...}.

        Raises:
            UserError: when the model has no sentences, for fewer than two answers, or when it reads the
                descriptions of two answers alike.
        """
        if not isinstance(answers, Answers):
            answers = describe_answers(answers)
        if not self.can_be_asked:
            raise UserError(
                f"the model in {str(self._folder)!r} puts no image into words, and can be asked nothing else",
                "give an export of names_to_answers or vgg_to_bert",
            )
        vectors = self._embed_texts([text.encode() for text in answers.texts])
        require_apart(answers, vectors)
        require_known(answers, vectors, self._embed_texts)

        def outputs(rows: np.ndarray, sentences: Sequence[bytes]) -> dict[str, Any]:
            shares = softmax(self._scale * similarities(rows, vectors, answers.targets))
            return {"probabilities": shares, "sentence": sentences}

        def answer_images(contents: Sequence[bytes]) -> dict[str, Any]:
            image_outputs = self.answer_images(contents)
            sentences = image_outputs["sentence"]
            return outputs(
                image_outputs["embedding"]
                if self._tells == "embedding"
                else self._sentence_vectors(sentences),
                sentences,
            )

        predictor = copy.copy(self)
        predictor.labels = [*answers.names]
        predictor.answer_images = answer_images
        predictor.answer_texts = lambda contents: outputs(self._embed_texts(contents), [b""] * len(contents))
        predictor.answer_pairs = predictor.explain_texts = None
        return predictor

    def _embed_texts(self, texts: Sequence[bytes]) -> np.ndarray:
        parts = [self._embed(texts[start : start + 256]) for start in range(0, len(texts), 256)]
        return np.concatenate([part["embedding"] for part in parts])

    def _sentence_vectors(self, sentences: Sequence[bytes]) -> np.ndarray:
        """Where sentences are (B, D): the mean direction of several wordings of each."""
        templates = [sentence.split(b" | ") for sentence in sentences]
        rows = iter(self._embed_texts([wording for wordings in templates for wording in wordings]))
        means = np.stack([np.mean([next(rows) for _ in wordings], axis=0) for wordings in templates])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    @property
    def reads_sentences(self) -> bool:
        """Whether what it says of a picture made the answer: not where names are mixed by their weights."""
        return self._tells != "embedding"

    @property
    def takes_pictures(self) -> bool:
        """Whether the model answers a picture."""
        return self.answer_images is not None

    @property
    def takes_texts(self) -> bool:
        """Whether the model answers a text."""
        return self.answer_texts is not None

    @property
    def takes_pairs(self) -> bool:
        """Whether the model answers a picture and a text together."""
        return self.answer_pairs is not None

    def __call__(self, items: Iterable[Item | str | bytes | tuple[bytes, str]]) -> Iterator[Answer]:
        """Answers items in their order, many at a time.

        Of a pair, a model that takes no pairs answers the text, or the picture where it takes no texts.

        Args:
            items: texts as str, encoded pictures as bytes, pairs as tuples of both, or any of them as an
                `Item` with a name of its own.

        Raises:
            UserError: for pictures alone when the model takes texts alone, and the other way round. Beside
                others that it takes, each of these has a problem.
        """
        all_items = [_as_item(item, number) for number, item in enumerate(items, start=1)]
        self._require_some(all_items)
        for start in range(0, len(all_items), BATCH):
            part = [self._adapt_item(item) for item in all_items[start : start + BATCH]]
            answers = [Answer(item.name, problem=self._problem(item)) for item in part]
            part = [
                item if item.is_text or answer.problem else self._prepare_item(item)
                for item, answer in zip(part, answers, strict=True)
            ]
            for kind, ask in self._asks.items():
                indices = [
                    index
                    for index, item in enumerate(part)
                    if _kind(item) == kind and not answers[index].problem
                ]
                if indices:
                    part_answers = self._answers([part[index] for index in indices], ask)
                    for index, answer in zip(indices, part_answers, strict=True):
                        answers[index] = answer
            yield from answers

    @property
    def _asks(self) -> dict[str, Any]:
        """What answers items of each kind, None where nothing does."""
        return {"pair": self.answer_pairs, "text": self.answer_texts, "picture": self.answer_images}

    def _require_some(self, items: Sequence[Item]) -> None:
        """Refuses items when all that hold something are of kinds that the model does not answer."""
        asked_items = [self._adapt_item(item) for item in items if item.content and not item.problem]
        if asked_items and all(self._asks[_kind(item)] is None for item in asked_items):
            kind = _kind(asked_items[0])
            other = f"{self.medium.noun}s" if kind == "text" else "texts"
            raise UserError(
                f"the model in {str(self._folder)!r} answers {other} and no {kind}s, such as "
                f"{asked_items[0].name!r}",
                f"give it {other}",
            )

    def _problem(self, item: Item) -> str:
        """Says why an item has no answer; "" when it will have one."""
        if item.content and not item.problem and self._asks[_kind(item)] is None:
            return f"a {_kind(item)}, which the model does not answer"
        sounds = self._sounds
        if item.sound and sounds and (problem := item.sound.problem or sounds.problem(item.sound.content)):
            return f"its sound: {problem}"
        return _problem(item, self.medium.problem if item.text is None else self.medium.problem_beside)

    def _sound_of(self, item: Item) -> bytes:
        return self._sounds.prepared(item.sound.content) if self._sounds and item.sound else b""

    def asked_why(self, signature: str, item: Item) -> list[bytes]:
        """Returns what a signature that explains an answer is asked of a picture or a pair."""
        other_contents = self._sound_of(item), item.text or b""
        return [item.content, *other_contents[3 - len(self.signatures[signature]) :]]

    def _prepare_item(self, item: Item) -> Item:
        return replace(item, content=self.medium.prepared(item.content))

    def _adapt_item(self, item: Item) -> Item:
        """Makes a text or a picture of a pair, where the model takes no pairs, and none with a sound.

        Where it takes sounds beside both, a sound by itself, or with a text, is no picture.
        """
        if not self._sounds:
            item = replace(item, sound=None)
        elif not item.is_text and sound_files.kind_by_content(item.content[: sound_files.HEAD]):
            sound = Item(item.name, item.content, False, item.problem)
            item = replace(item, content=b"", problem="", text=item.text or b"", sound=sound)
        elif item.sound and item.text is None:
            picture, text = (b"", item.content) if item.is_text else (item.content, b"")
            item = replace(item, content=picture, is_text=False, text=text)
        if item.text is None or self.takes_pairs:
            return item
        if self.takes_texts:
            return replace(item, content=item.text, is_text=True, problem="", text=None)
        return replace(item, text=None)

    def _answers(self, items: Sequence[Item], outputs_of: Any) -> list[Answer]:
        contents = [item.content for item in items]
        if items[0].text is None:
            outputs = outputs_of(contents)
        else:
            sounds = [[self._sound_of(item) for item in items]] if self._sounds else []
            outputs = outputs_of(contents, *sounds, [item.text for item in items])
        # Of several labels the sentence is the answer, and not what was read.
        has_labels = "labels" in outputs
        served_texts = outputs.get("read" if has_labels else "sentence", outputs.get("read"))
        texts = [b""] * len(items) if served_texts is None else served_texts
        answers = []
        for row, item in enumerate(items):
            shares = dict(zip(self.labels, map(float, outputs["probabilities"][row]), strict=True))
            label = max(shares, key=shares.__getitem__)
            limits = _labels_of(outputs, row) if has_labels else _limits_of(outputs, row)
            answers.append(Answer(item.name, label, shares[label], texts[row].decode(), shares, **limits))
        return answers


def _labels_of(outputs: Mapping[str, Any], row: int) -> dict[str, Any]:
    """The labels of an answer that has several."""
    labels = tuple(name.decode() for name in outputs["labels"][row] if name)
    return {"labels": labels, "verdict": outputs["sentence"][row].decode()}


def _limits_of(outputs: Mapping[str, Any], row: int) -> dict[str, Any]:
    """What is promised of an answer, where an export tells it."""
    if "unknown" not in outputs:
        return {}
    answers = tuple(name.decode() for name in outputs["answers"][row] if name)
    numbers = {name: float(outputs[name][row]) for name in ("certainty", "unknown") if name in outputs}
    return {"answers": answers, "verdict": outputs["verdict"][row].decode()} | numbers


def _as_item(value: Item | str | bytes | tuple[bytes, str], number: int) -> Item:
    if isinstance(value, Item):
        return value
    if isinstance(value, str):
        return Item(value, value.encode("utf-8", "replace"), is_text=True)
    if isinstance(value, tuple):
        picture, text = value
        return Item(f"pair {number}", picture, is_text=False, text=text.encode("utf-8", "replace"))
    return Item(f"picture {number}", value, is_text=False)


def _kind(item: Item) -> str:
    if item.text is not None:
        return "pair"
    return "text" if item.is_text else "picture"


def _problem(item: Item, problem_of_content: Callable[[bytes], str]) -> str:
    """Tells why an item cannot be answered; empty when it can."""
    if item.problem:
        return item.problem
    if item.is_text:
        return _problem_of_text(item.content) or ("" if item.content.strip() else "empty")
    if item.text is None:
        return problem_of_content(item.content)
    if not item.content and not item.text.strip() and not item.sound:
        return "neither a picture nor a text"
    return _problem_of_text(item.text) or (problem_of_content(item.content) if item.content else "")


def _problem_of_text(text: bytes) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"no UTF-8 at byte {error.start}"
    return ""

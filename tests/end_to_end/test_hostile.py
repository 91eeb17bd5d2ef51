"""Hostile input to exports, each in one fresh process: an answer or a refusal, soon; the process lives on."""

import base64
import json
import struct
import subprocess
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import warm_python
from tiny_bert import save_tiny_bert

from xmodal.bridge.bridge import Bridge
from xmodal.core.errors import UserError
from xmodal.export import saved_model
from xmodal.export.predictor import Item, Predictor
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.served_images import ServedImages
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.text.cleaning import scrub_texts

# Answers each question by its outputs, or by the error's name; and tells seconds and the most memory.
SERVE = """
import base64, json, resource, sys, time
import tensorflow as tf, tensorflow_text
signatures = tf.saved_model.load(sys.argv[1]).signatures
for line in sys.stdin:
    signature, name, values = json.loads(line)
    values = [base64.b64decode(value) for value in values]
    started = time.perf_counter()
    try:
        outputs = signatures[signature](**{name: tf.constant(values, tf.string, [len(values)])})
        told = {"probabilities": outputs["probabilities"].numpy().tolist()}
    except tf.errors.OpError as error:
        told = {"refused": type(error).__name__}
    told["seconds"] = time.perf_counter() - started
    told["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told), flush=True)
"""
TEXTS = {
    "100,000 words": b"a photo of a red cat " * 20_000,
    "a word of a million letters": b"cat" * 333_333,
    "zero-width characters": "\u200bc\u200da\u200ct\ufeff \u2060dog\u00ad".encode() * 50,
    "nothing but zero-width characters": "\u200b\u200d\ufeff".encode() * 1000,
    "marks of direction": "\u202ecat\u202c \u2066dog\u2069 \u200fbird\u200e \u061c".encode(),
    "unclosed marks of direction": "\u202e".encode() * 10_000 + b"cat",
    "thousands of accents on a letter": ("a" + "\u0301" * 50_000).encode(),
    "bytes that are no UTF-8": b"\xff\xfe\xfa cat \xc3\x28 \xa0\xa1 \xe2\x28\xa1 \xf0\x28\x8c\xbc",
    "half a character": "犬".encode()[:2],
    "overlong and surrogate encodings": b"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 dog",
    "random bytes": np.random.default_rng(0).bytes(200_000),
    "nothing": b"",
    "white space": b" \t\r\n" * 1000,
    "NUL": b"\0",
    "NUL within": b"cat\0dog\0\0bird",
    "tags that never close": b"<script>" * 20_000 + b"<a href=" * 20_000,
    "angle brackets": b"<" * 100_000 + b">" * 100_000,
    "entities of entities": b"&amp;" * 50_000 + b"&amp;lt;",
    "digits that may be cards": b"4111 " * 50_000 + b"1" * 100_000,
    "addresses that are none": b"a@" * 50_000 + b"a." * 50_000,
    "control characters": bytes(range(32)) * 100 + b"\x1ecat\x1e",
    "formulas": b"=cmd|'/c calc'!A0 ${jndi:ldap://x} {{7*7}} %s%n \\1 \\0",
}


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of 8-bit RGB with any header and any rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def images() -> dict[str, tuple[bytes, bool]]:
    """Encoded images, and whether each is to be answered."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    jpeg = tf.io.encode_jpeg(pixels).numpy()
    gif = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b";"
    bmp = (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, *[0] * 6)
    )
    return {
        "1x1": (png(1, 1, b"\0" + b"\x80" * 3), True),
        "one line": (png(4000, 1, b"\0" + b"\x80" * 12_000), True),
        "JPEG": (jpeg, True),
        "JPEG that ends in its header": (jpeg[:100], False),
        "JPEG that ends halfway": (jpeg[: len(jpeg) // 2], False),
        "JPEG with bytes in disorder": (jpeg[:600] + bytes(reversed(jpeg[600:])), None),
        "no bytes": (b"", False),
        "text": (b"cat" * 1000, False),
        "random bytes": (np.random.default_rng(0).bytes(100_000), False),
        "PNG of 0x0": (png(0, 0, b""), False),
        "PNG that declares 100,000x100,000": (png(100_000, 100_000, b""), False),
        "PNG that declares 2**31-1": (png(2**31 - 1, 2**31 - 1, b""), False),
        "PNG that declares 12,000x12,000 and has a line": (png(12_000, 12_000, b"\0" * 36_001), False),
        "PNG with a wrong checksum": (png(8, 8, b"\0" * 200)[:-20] + b"\0" * 20, False),
        "GIF that declares 60,000x60,000": (gif, False),
        "BMP that declares 60,000x60,000": (bmp, False),
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> TextClassifier:
    encoder = text_encoder(save_tiny_bert(tmp_path_factory.mktemp("preset") / "bert"), 16)
    return TextClassifier(encoder, text_classifier(encoder.model, 2), None)


def ask(exported: Path, *questions: tuple[str, str, list[bytes]]) -> list[dict]:
    lines = [
        json.dumps((signature, name, [base64.b64encode(value).decode() for value in values]))
        for signature, name, values in questions
    ]
    done = subprocess.run(
        [warm_python.path(), "-c", SERVE, str(exported)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(questions)
    return answers


def answered(told: dict, rows: int = 1) -> bool:
    """Tells whether there are probabilities, and not another thing that is no refusal."""
    if told.get("refused"):
        assert told["refused"] == "InvalidArgumentError"
        return False
    assert np.shape(told["probabilities"]) == (rows, 2)
    np.testing.assert_allclose(np.sum(told["probabilities"], axis=1), 1, atol=1e-5)
    return True


def test_documents(text, tmp_path):
    served = ServedDocuments(
        text=text, temperature=1.3, prepare=lambda texts: scrub_texts(texts)[0], names=("animal", "plant")
    )
    exported = saved_model.export_saved_model(served, tmp_path / "documents")
    cat = ("serving_default", "text", [b"a red cat"])
    questions = [cat, *(("serving_default", "text", [value]) for value in TEXTS.values())]
    together = ("serving_default", "text", list(TEXTS.values()))
    first, *alone, all_of_them, none, last = ask(
        exported, *questions, together, ("serving_default", "text", []), cat
    )
    assert last["probabilities"] == first["probabilities"]
    for name, told in zip(TEXTS, alone, strict=True):
        assert answered(told), name
        assert told["seconds"] < 20, name
    # Neighbours in a batch make no difference.
    assert answered(all_of_them, len(TEXTS))
    np.testing.assert_allclose(
        all_of_them["probabilities"], [told["probabilities"][0] for told in alone], atol=1e-5
    )
    assert none["probabilities"] == []
    assert last["megabytes"] - first["megabytes"] < 1000


def test_a_picture_among_texts_is_its_own_problem(text, tmp_path):
    served = ServedDocuments(
        text=text, temperature=1, prepare=lambda texts: scrub_texts(texts)[0], names=("a", "b")
    )
    predictor = Predictor(saved_model.export_saved_model(served, tmp_path / "documents"))
    picture, letter = images()["JPEG"][0], Item("a.txt", b"a red cat", True)
    first, second, third = predictor([letter, Item("b.jpg", picture, False), Item("c.txt", b"", True)])
    assert first.label in "ab"
    assert (second.problem, third.problem) == ("a picture, which the model does not answer", "empty")
    with pytest.raises(UserError, match=r"answers texts and no pictures, such as 'b.jpg'; give it texts"):
        list(predictor([Item("b.jpg", picture, False), Item("c.txt", b"", True)]))


def test_images_and_their_question(text, tmp_path):
    trunk = image_backbone("VGG16", 32, ("block1_pool",), cache=Path("nowhere"))
    served = ServedImages(
        image_model=keras.Model(trunk.input, keras.layers.Dense(3)(trunk.output)),
        image_size=32,
        temperature=1.0,
        bridge=Bridge(("cat", "dog", "bird"), "hedged", ("a photo of {}",)),
        text=text,
        text_temperature=1.0,
        names=("animal", "plant"),
    )
    exported = saved_model.export_saved_model(served, tmp_path / "images")
    hostile = images()
    good = ("serving_default", "image_bytes", [hostile["JPEG"][0]])
    questions = [("serving_default", "image_bytes", [value]) for value, _ in hostile.values()]
    texts = [("text", "text", [value]) for value in TEXTS.values()]
    first, *told, last = ask(exported, good, *questions, *texts, good)
    assert last["probabilities"] == first["probabilities"]
    for (name, (_, wanted)), answer in zip(hostile.items(), told, strict=False):
        assert answered(answer) == wanted or wanted is None, name
        assert answer["seconds"] < 20, name
    for name, answer in zip(TEXTS, told[len(hostile) :], strict=True):
        assert answered(answer), name
        assert answer["seconds"] < 20, name
    assert last["megabytes"] - first["megabytes"] < 1000

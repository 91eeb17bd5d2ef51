"""What is fuzzed, and what has to hold: an answer, or one line that tells what is wrong, and no more.

A target is a function of hypothesis' `data`; it draws a case, and raises what does not hold.
"""

import contextlib
import csv
import functools
import io
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import odd
from hypothesis import strategies as st

from xmodal.core.errors import UserError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """Something to fuzz.

    Attributes:
        check: draws a case and tries it.
        share: of all cases, in parts of the sum.
        tensorflow: whether it needs TensorFlow; such are left out of the default suite.
    """

    check: Callable[[Any], None]
    share: int
    tensorflow: bool = False


TARGETS: dict[str, Target] = {}


def target(share: int, *, tensorflow: bool = False) -> Callable:
    """Puts a function among the targets."""

    def put(check: Callable[[Any], None]) -> Callable[[Any], None]:
        TARGETS[check.__name__] = Target(check, share, tensorflow)
        return check

    return put


def told(main: Callable[[Sequence[str]], int], *arguments: str | Path) -> tuple[int, str, str]:
    """Runs a command in this process: its exit code, and what it says, which has to be fit for a terminal."""
    out, error = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(["", *map(str, arguments)])
    texts = []
    for stream in (out, error):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
        require_fit(texts[-1])
    assert code in (0, 2), f"exit code {code}"
    if code == 2:
        require_line(texts[1].splitlines()[-1])
    return code, *texts


def require_line(line: str) -> None:
    """An error is one line that says what is wrong and what to do."""
    assert line.startswith("error: "), line
    assert "; " in line, line
    assert "\n" not in line, line


def require_fit(text: str) -> None:
    """No control characters, marks of direction or halves of surrogate pairs."""
    unfit = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert not unfit | set(text) & {*"\u202e\u202d\u2066\u2067\u200f"}, repr(unfit)


def refused(call: Callable[[], Any], *others: type[Exception]) -> Any:
    """Returns what a call gives, None where it says what is wrong."""
    try:
        return call()
    except UserError as error:
        require_line(f"error: {error}")
    except others:
        pass
    return None


def emptied(name: str) -> Path:
    """Returns an empty folder of the jail."""
    folder = Path(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


# Flags.


@target(6)
def flags_on_the_command_line(data):
    from xmodal.config import flags

    chosen = data.draw(st.lists(st.sampled_from(flags.flag_names()), min_size=1, max_size=4, unique=True))
    given = [f"--{name}={data.draw(odd.numbers.map(str) | odd.names)}" for name in chosen]
    _flags_replay(given)


@target(2)
def flagfiles(data):
    from xmodal.config import flags

    _reset()
    flags.parse(["run"])
    content = flags.from_flags().flagfile.encode()
    some = data.draw(st.lists(st.sampled_from(content.splitlines(keepends=True)), max_size=5))
    Path("some.cfg").write_bytes(data.draw(odd.damaged(b"".join(some))))
    _flags_replay(["--flagfile=some.cfg"])


def _flags_replay(given: list[str]) -> None:
    """What is taken is written so that the same comes of it."""
    from xmodal.config import flags

    def settings(words: list[str]):
        _reset()
        assert flags.parse(["run", *words]) is not None
        return flags.from_flags()

    first = refused(lambda: settings(given))
    if first is not None:
        Path("again.cfg").write_text(first.flagfile)
        again = settings(["--flagfile=again.cfg"])
        assert again.flagfile == first.flagfile
    _reset()


def _reset() -> None:
    from absl import flags as absl_flags

    from xmodal.config import flags

    for name in flags.flag_names():
        absl_flags.FLAGS[name].unparse()
    if "flagfile" in absl_flags.FLAGS:
        absl_flags.FLAGS["flagfile"].unparse()


# What a run leaves, and commands are given.


def _run(folder: Path) -> dict[str, bytes]:
    """The files of a real run: those of a record, as the run wrote them."""
    record = json.loads((ROOT / "experiments/results/fusion.json").read_text())
    kept = ("experiment", "seed", "data", "results", "gains", "facts", "seconds")
    metrics = {name: record[name] for name in kept}
    epochs = [{"stage": "head", "epoch": number, "loss": 1.0, "val_accuracy": 0.5} for number in range(3)]
    return {
        "metrics.json": json.dumps(metrics).encode(),
        "metrics.jsonl": b"".join(json.dumps(epoch).encode() + b"\n" for epoch in epochs),
        "config.cfg": "\n".join(record["flags"]).encode() + b"\n",
        "checkpoints/run.json": json.dumps(
            {"flags": "--a=1\n", "finished": True, "data": {"x": "y"}}
        ).encode(),
    }


def _written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@target(8)
def runs_that_are_compared(data):
    from xmodal import compare

    folder = emptied("compared")
    files = _run(folder)
    first = _written(folder / "first", files)
    name = data.draw(st.sampled_from(sorted(files)))
    if name.endswith("json") and data.draw(st.booleans()):
        files[name] = odd.json_text(data.draw(odd.changed(json.loads(files[name]))))
    elif name.endswith("jsonl") and data.draw(st.booleans()):
        lines = files[name].splitlines()
        lines[1] = odd.json_text(data.draw(odd.changed(json.loads(lines[1]))))
        files[name] = b"\n".join(lines)
    else:
        files[name] = data.draw(odd.damaged(files[name]))
    second = _written(folder / "second", files)
    page = [f"--output={folder / 'page.html'}"] if data.draw(st.integers(0, 19)) == 0 else []
    code, out, _ = told(compare.main, first, second, *page)
    assert (code == 0) == out.startswith("Accuracy, with its 95% interval\n")


@target(5)
def folders_of_runs(data):
    """A run begins, goes on or is refused; what it did not leave there stays."""
    from xmodal.core.clock import Clock
    from xmodal.runs import folder as runs_folder

    place = emptied("begun")
    _written(place, {"mine.txt": b"mine", "sub/mine.txt": b"mine too"})
    outside = _written(emptied("outside"), {"kept.txt": b"kept", "deep/kept.txt": b"kept too"})
    flagfile = "--a=1\n--b=2\n"
    record = {"flags": flagfile, "finished": False, "data": {"images": "0" * 64}}
    if data.draw(st.booleans()):
        changed = data.draw(odd.changed(record).map(odd.json_text) | odd.damaged(odd.json_text(record)))
        _written(place, {"checkpoints/run.json": changed})
    if data.draw(st.booleans()):
        _written(
            place,
            {
                "checkpoints/seconds.json": data.draw(
                    odd.changed({"seconds": {}, "wall": 1}).map(odd.json_text)
                )
            },
        )
    for name in data.draw(st.lists(st.sampled_from((*runs_folder.LEFT, ".lock")), max_size=3, unique=True)):
        _put(data, place / name, outside)
    options = {"overwrite": data.draw(st.booleans()), "restart": data.draw(st.booleans())}

    def run() -> None:
        with runs_folder.lock_run_folder(place, flagfile, **options):
            Clock(lambda line: None, place / "checkpoints/seconds.json")
            runs_folder.bind(place, {"images": "0" * 64})

    with contextlib.redirect_stdout(io.StringIO()):
        refused(run)
    assert (place / "mine.txt").read_bytes() == b"mine"
    assert (place / "sub/mine.txt").read_bytes() == b"mine too"


def _put(data, path: Path, outside: Path) -> None:
    """Puts a file, a folder, a pipe or a link in a place that may be taken already."""
    if os.path.lexists(path):
        return
    match data.draw(
        st.sampled_from(("file", "folder", "pipe", "link to a file", "link to a folder", "loop"))
    ):
        case "file":
            path.write_bytes(data.draw(st.binary(max_size=20)))
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to a file":
            path.symlink_to((outside / "kept.txt").absolute())
        case "link to a folder":
            path.symlink_to((outside / "deep").absolute())
        case "loop":
            path.symlink_to(path.name)


@target(4)
def places_to_write(data):
    """A file is written where it may be, through links too; what else is there stays as it is."""
    from xmodal.core import files

    place = emptied("written")
    outside = _written(emptied("outside"), {"kept.txt": b"kept", "deep/kept.txt": b"kept too"})
    name = data.draw(odd.names.filter(lambda name: name.strip("./") and ".." not in name and "~" not in name))
    path = place / name.lstrip("/")
    with contextlib.suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if data.draw(st.booleans()):
            _put(data, path, outside)
    overwrite = data.draw(st.booleans())
    kind = data.draw(st.sampled_from((None, files.NONE)))
    # What holds NUL is refused by the system itself, in Python's words.
    if refused(lambda: [files.write_text(path, "new", kind, overwrite=overwrite)], ValueError):
        assert Path(os.path.realpath(path)).read_text() == "new"
    assert (outside / "deep/kept.txt").read_bytes() == b"kept too"
    assert (outside / "kept.txt").read_bytes() in (b"kept", b"new")
    assert not [left for left in place.rglob(".*") if files.UNFINISHED in left.name]


# Damaged bytes are noticed.


def _damage(data, folder: Path) -> bool:
    """Damages one of the files of a folder, and returns whether anything is another than it was."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    before = path.read_bytes()
    match data.draw(st.sampled_from(("bytes", "bytes", "bytes", "gone", "folder", "pipe"))):
        case "bytes":
            path.write_bytes(data.draw(odd.damaged(before)))
            return path.read_bytes() != before
        case "gone":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "pipe":
            path.unlink()
            os.mkfifo(path)
    return True


@target(4)
def exports(data):
    from xmodal import predict
    from xmodal.core.sums import summed_folder

    folder = emptied("model")
    with summed_folder(folder / "1") as new:
        _written(new, {"saved_model.pb": bytes(range(200)), "variables/variables.index": b"index" * 20})
    changed = _damage(data, folder / "1")
    code, _, error = told(predict.main, f"--model={folder}", "--text=a red cat") if changed else (2, "", "")
    assert code == 2
    assert "cannot be loaded" not in error


@target(3)
def checkpoints(data):
    from xmodal.training.checkpoint import Checkpoints, State

    folder = emptied("kept")

    def stage():
        return Checkpoints(folder, log=lambda line: None).stage("head")

    if not Path("checkpoint").is_dir():
        kept = Checkpoints(Path("checkpoint")).stage("head")
        for number in (1, 2):
            kept.save(number, State({"weights": np.full(50, number, np.float32)}, {"number": number}))
    shutil.copytree("checkpoint", folder, dirs_exist_ok=True)
    changed = _damage(data, folder)
    found = refused(lambda: stage().newest())
    if found:
        number = found[0].facts["number"]
        assert (found[0].arrays["weights"] == number).all()
        assert found[0].arrays["weights"].shape == (50,)
    assert changed or found


@target(2)
def cached_assets(data):
    import hashlib

    from xmodal.assets import fetch
    from xmodal.assets.catalog import Asset, AssetFile

    contents = {"words.txt": b"red cat\n" * 20, "deep/weights.bin": bytes(range(256))}
    files = tuple(
        AssetFile(name, name, hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    )
    asset = Asset("tiny", "CC0", "two small files", "tiny==1.0", "0" * 64, 0, files)
    fetch.ASSETS["tiny"] = asset
    cache = emptied("cache")
    digest = hashlib.sha256("".join(sorted(f"{f.sha256}  {f.name}\n" for f in files)).encode()).hexdigest()
    folder = _written(cache / "assets/tiny" / digest[:12], contents)
    assert fetch.locate("tiny", cache=cache, offline=True) == folder
    changed = _damage(data, folder)
    found = refused(lambda: fetch.locate("tiny", cache=cache, offline=True))
    assert (found is None) == changed


# Files of other programs.


@target(3)
def encoders_in_four_bits(data):
    from tiny_e5 import tiny_e5

    from xmodal.models import e5_file

    Path("e5.bin").write_bytes(data.draw(odd.damaged(tiny_e5())))
    refused(lambda: e5_file.read(Path("e5.bin")), ValueError, OSError)


@target(3)
def tensors_of_torch(data):
    from tiny_torch import content, tensor, text

    from xmodal.assets.efficientnet_lite0 import read_tensors

    Path("torch.pth").write_bytes(data.draw(odd.damaged(content(text("rows") + tensor()))))
    refused(lambda: read_tensors(Path("torch.pth")))


@target(6)
def tables(data):
    from xmodal.data.table_format import TableFormat
    from xmodal.data.tables import read_tables

    kind = data.draw(st.sampled_from(("csv", "tsv", "jsonl")))
    cells = st.tuples(odd.names, odd.names, st.sampled_from(("train", "test", "", "x")) | odd.names)
    rows = [("text", "label", "split"), *data.draw(st.lists(cells, max_size=4))]
    if kind == "jsonl":
        lines = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        lines = [data.draw(odd.changed(line)) if data.draw(st.booleans()) else line for line in lines]
        content = b"".join(odd.json_text(line) + b"\n" for line in lines)
    else:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter="," if kind == "csv" else "\t").writerows(rows)
        content = buffer.getvalue().encode(errors="surrogatepass")
    if data.draw(st.booleans()):
        content = data.draw(odd.damaged(content))
    Path(f"table.{kind}").write_bytes(content)
    table_format = TableFormat(
        "utf-8", data.draw(st.sampled_from((None, "latin-1"))), "text", "label", "split"
    )
    refused(lambda: read_tables(kind, Path(f"table.{kind}"), table_format))


@target(3)
def tables_with_types(data):
    """Parquet, Arrow, Excel and JSON, whole ones of odd cells or damaged ones."""
    from xmodal.data.table_format import TableFormat
    from xmodal.data.tables import read_tables

    kind = data.draw(st.sampled_from(("parquet", "arrow", "xlsx", "json")))
    cells = st.tuples(odd.names.filter(_is_utf8), odd.names.filter(_is_utf8))
    content = _typed_table(kind, (("wheat prices", "trade"), *data.draw(st.lists(cells, max_size=3))))
    if data.draw(st.integers(0, 3)):
        content = data.draw(odd.damaged(content))
    Path(f"table.{kind}").write_bytes(content)
    refused(lambda: read_tables(kind, Path(f"table.{kind}"), TableFormat()), OSError)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


# Excel's files hold the time: of a case that is tried again there has to be the same one.
@functools.cache
def _typed_table(kind: str, rows: tuple[tuple[str, str], ...]) -> bytes:
    import pyarrow
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError
    from pyarrow import parquet

    written = io.BytesIO()
    table = pyarrow.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    if kind == "parquet":
        parquet.write_table(table, written)
    elif kind == "arrow":
        with pyarrow.ipc.new_stream(written, table.schema) as writer:
            writer.write_table(table)
    elif kind == "json":
        written.write(odd.json_text(table.to_pylist()))
    else:
        book = Workbook()
        for row in (("text", "label"), *rows):
            # Excel has no such letters.
            with contextlib.suppress(IllegalCharacterError):
                book.active.append(row)
        book.save(written)
    return written.getvalue()


@target(3)
def target_maps(data):
    from xmodal.data.target_map import read_target_map

    rows = data.draw(st.lists(st.tuples(odd.names, odd.names), max_size=4))
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("description", "target"), ("cat", "animal"), ("oak", "plant"), *rows])
    content = buffer.getvalue().encode(errors="surrogatepass")
    if data.draw(st.booleans()):
        content = data.draw(odd.damaged(content))
    Path("map.csv").write_bytes(content)
    refused(lambda: read_target_map(Path("map.csv"), ("cat", "oak")))


@target(2)
def answers_that_are_typed(data):
    from xmodal.data.target_map import parse_answers

    words = ",".join(data.draw(st.lists(odd.names, max_size=4)))
    found = refused(lambda: parse_answers(words))
    assert found is None or len(found.texts) > 1


@target(2)
def places_in_a_job(data):
    from xmodal.training.cluster import current_worker

    job = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    changed = data.draw(odd.changed(job).map(odd.json_text) | odd.damaged(odd.json_text(job)))
    refused(lambda: current_worker("multi_worker", {"TF_CONFIG": os.fsdecode(changed)}))
    slurm = {"SLURM_PROCID": data.draw(odd.names), "SLURM_NTASKS": data.draw(odd.names)}
    refused(lambda: current_worker("multi_worker", slurm))


# What is printed and written.


@target(5)
def answers_of_a_model(data):
    from xmodal.export import answer_files
    from xmodal.export.predictor import Answer

    share = st.floats(0, 1)
    answer = st.builds(
        Answer,
        odd.names,
        odd.names,
        share,
        odd.names,
        st.dictionaries(odd.names, share, max_size=3),
        odd.names,
    )
    answers = data.draw(st.lists(answer, max_size=3))
    require_fit(answer_files.as_table(answers))
    found = answer_files.as_json(answers)
    assert [row["item"] for row in json.loads(found)] == [answer.item for answer in answers]
    require_fit(found.encode().decode())
    found = answer_files.as_csv(answers)
    require_fit(found.encode().decode().replace("\t", ""))
    head, *rows = csv.reader(io.StringIO(found, newline=""))
    assert len(rows) == len(answers)
    for cell in (cell for row in (head, *rows) for cell in row):
        assert not cell.startswith(("=", "@", "\t", "\r")), cell
        assert not cell.startswith(("+", "-")) or cell[1:].replace(".", "").isdigit(), cell


@target(3)
def errors_of_commands(data):
    from xmodal.core.command import exit_code

    def run(arguments: Sequence[str]) -> None:
        raise UserError(f"{data.draw(odd.names)} is odd", data.draw(odd.names.map(lambda name: f"do {name}")))

    assert told(lambda argv: exit_code(run, argv, check_versions=False))[0] == 2


class _Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)

    def handle_data(self, data):
        self.text += data


@target(3)
def names_in_reports(data):
    from xmodal.report import markup

    words = data.draw(st.lists(odd.names, min_size=1, max_size=3))
    page = _Elements()
    page.feed(markup.items(words, "findings"))
    page.close()
    assert page.seen == ["ul", *["li"] * len(words)]
    table = markup.table(words[0], ("", *words), [("x", *words)], numbers=())
    page = _Elements()
    page.feed(table)
    assert not {"script", "img", "a"} & set(page.seen)
    (table + markup.items(words, "findings")).encode()


# What needs TensorFlow.


@target(4, tensorflow=True)
def pictures(data):
    from PIL import Image

    from xmodal.data.audit import scan
    from xmodal.data.decoding import decode

    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, data.draw(st.sampled_from(("PNG", "JPEG", "GIF", "BMP", "WEBP"))))
    content = data.draw(odd.damaged(written.getvalue()))
    (found,) = scan([content], lambda encoded: decode(encoded, 8))
    assert found.digest or found.problem


@target(3, tensorflow=True)
def sounds(data):
    """What is told to be whole has a spectrogram."""
    from tiny_sounds import FLOAT, PCM, tone, wav

    from xmodal.data.sound_audit import look_at_sound
    from xmodal.data.sound_files import as_wav
    from xmodal.data.sound_format import SoundFormat
    from xmodal.data.sounds import spectrograms

    samples = tone(440, 0.1) + tone(100, 0.1, loudness=0.2)
    bits, codec = data.draw(st.sampled_from(((8, PCM), (16, PCM), (24, PCM), (32, FLOAT))))
    content = wav(samples, 8000, bits, codec, extensible=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        content = _packed_sound(samples, data.draw(st.sampled_from(("FLAC", "OGG"))))
    content = data.draw(odd.damaged(content))
    found = look_at_sound(content, 2.0)
    assert bool(found.digest) != bool(found.problem)
    if found.digest:
        assert np.isfinite(spectrograms(as_wav(content), 32, SoundFormat(), 2.0)).all()


def _packed_sound(samples: np.ndarray, kind: str) -> bytes:
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, samples, 8000, format=kind)
    return written.getvalue()


@target(2, tensorflow=True)
def records_of_pictures(data):
    """TFRecord files."""
    import tensorflow as tf

    from xmodal.data.image_records import read_image_records

    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a picture"])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    # Also records whose own sums fit.
    inside = data.draw(st.just(record) | odd.damaged(record))
    with tf.io.TFRecordWriter("whole.tfrecord") as writer:
        for content in (record, inside):
            writer.write(content)
    content = Path("whole.tfrecord").read_bytes()
    Path("some.tfrecord").write_bytes(data.draw(st.just(content) | odd.damaged(content)))
    refused(lambda: read_image_records("tfrecord", Path("some.tfrecord")))


@target(2, tensorflow=True)
def kept_features(data):
    """A shard of the cache is as it was written, or is computed anew."""
    from xmodal.training import feature_cache

    entry = emptied("entry")
    shard = np.arange(20, dtype=np.float32).reshape(4, 5)
    feature_cache._write_shard(entry, 0, shard)
    _damage(data, entry)
    found = feature_cache._find_shard(entry, 0)
    assert found is None or (found[np.arange(4)] == shard).all()
    # It is written where the damaged one may still be.
    refused(lambda: feature_cache._write_shard(entry, 0, shard))


@target(2, tensorflow=True)
def indexes_of_pictures(data):
    """Also forged ones, with sums that fit."""
    from xmodal.core.sums import SUMS, write_sums
    from xmodal.export.picture_index import FACTS, load_index

    folder = emptied("index")
    for name, array in {
        "vectors": np.ones((3, 4), np.float32),
        "labels": np.zeros(3, np.int32),
        "pictures": np.zeros((3, 2, 2, 3), np.uint8),
    }.items():
        np.save(folder / f"{name}.npy", array)
    facts = {"format": 3, "class_names": ["a"], "ids": ["x", "y", "z"]}
    (folder / FACTS).write_bytes(
        odd.json_text(data.draw(odd.changed(facts)) if data.draw(st.booleans()) else facts)
    )
    (folder / "encoders").mkdir()
    (folder / "encoders/saved_model.pb").write_bytes(data.draw(st.binary(max_size=50)))
    write_sums(folder)
    _damage(data, folder)
    if data.draw(st.booleans()) and (folder / SUMS).is_file():
        (folder / SUMS).unlink()
        write_sums(folder)
    assert refused(lambda: load_index(folder)) is None


@target(2, tensorflow=True)
def documents(data):
    """Cleaning gives UTF-8 without control characters, whatever it is given."""
    import tensorflow as tf

    from xmodal.text.cleaning import scrub_texts

    text = b"Mail jane.doe@example.com or call +49 170 1234567 <b>now</b> &amp; pay 4111 1111 1111 1111"
    (found,), _ = scrub_texts(tf.constant([data.draw(odd.damaged(text))]))
    require_fit(found.numpy().decode())


if "tensorflow" in sys.modules:
    raise ImportError("TensorFlow is imported by the targets that need it alone")

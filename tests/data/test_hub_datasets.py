"""Data sets of the Hugging Face hub: fetched from a server that answers as it does, kept, and refused."""

import hashlib
import http.server
import io
import json
import sys
import threading
import urllib.parse

import pyarrow
import pytest
from pyarrow import parquet

from xmodal.core.errors import UserError
from xmodal.data.document_sources import read_documents
from xmodal.data.image_sources import read_images
from xmodal.data.table_format import TableFormat

FEATURES = {"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}
COMMIT = "c" * 40


def table(texts, **more) -> bytes:
    rows = pyarrow.table({"text": texts, "label": [number % 2 for number in range(len(texts))]} | more)
    buffer = io.BytesIO()
    parquet.write_table(rows.replace_schema_metadata({"huggingface": json.dumps(FEATURES)}), buffer)
    return buffer.getvalue()


REVIEWS = {
    "plain/train/0000.parquet": table(["dull", "fine"]),
    "plain/train/0001.parquet": table(["slow"]),
    "plain/test/0000.parquet": table(["dry", "warm"]),
    "plain/unsupervised/0000.parquet": table(["who knows"]),
}
PICTURES = {
    "default/train/0000.parquet": table(["a", "b"], image=[{"bytes": b"\x89PNG", "path": None}] * 2),
    "other/train/0000.parquet": table(["c"]),
}
REPOSITORIES = {
    "acme/reviews": REVIEWS,
    "acme/pictures": PICTURES,
    "acme/many": {"de/train/0000.parquet": table(["ja"]), "en/train/0000.parquet": table(["yes", "no"])},
    "acme/large": {"default/partial-train/0000.parquet": table(["the first of many"])},
}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as its client needs to list and fetch files of data sets."""

    requests: list[str]

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self) -> bytes:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.requests.append(path)
        for name, files in REPOSITORIES.items():
            if path.startswith(f"/api/datasets/{name}/revision/"):
                listed = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
                about = {"id": name, "sha": COMMIT, "siblings": listed, "tags": ["license:cc0-1.0"]}
                return self.head(json.dumps(about).encode())
            if path.startswith(f"/api/datasets/{name}/tree/"):
                tree = [
                    {"type": "file", "path": file, "size": len(content), "oid": digest(content)}
                    for file, content in files.items()
                ]
                return self.head(json.dumps(tree).encode())
            if path.startswith(f"/datasets/{name}/resolve/{COMMIT}/"):
                return self.head(files[path.partition(f"{COMMIT}/")[2]])
        code = "RevisionNotFound" if "acme/unconverted" in path else "RepoNotFound"
        return self.head(b"", 404, code)

    def head(self, content: bytes, status: int = 200, error: str = "") -> bytes:
        self.send_response(status)
        self.send_header("ETag", f'"{digest(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        return content

    def log_message(self, *arguments):
        pass


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The requests that reach a hub of our own."""
    constants = pytest.importorskip("huggingface_hub.constants")
    handler = type("Served", (Hub,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ours = f"http://127.0.0.1:{server.server_port}"
        urls = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, ours)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", urls)
        monkeypatch.setattr(constants, "ENDPOINT", ours)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        # A machine that keeps its programs from the hub says so in its environment, which was read by now.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield handler.requests
        server.shutdown()


def documents(name, cache, offline=False):
    return read_documents(f"hf:{name}", TableFormat(), cache, offline).examples


def test_documents_are_fetched_once_with_the_names_of_their_classes(hub, tmp_path, capfd):
    examples = documents("acme/reviews", tmp_path)
    assert sorted((example.item, example.class_name, example.split) for example in examples) == [
        ("dry", "bad", "test"),
        ("dull", "bad", "train"),
        ("fine", "good", "train"),
        ("slow", "bad", "train"),
        ("warm", "good", "test"),
    ]
    told = capfd.readouterr().err.splitlines()
    assert told == [
        "warning: splits of 'hf:acme/reviews' that are left out: unsupervised",
        "fetching hf:acme/reviews: 0.0 MB from the Hugging Face hub; licence cc0-1.0",
    ]
    assert not [path for path in hub if "unsupervised" in path]
    del hub[:]
    assert documents("acme/reviews", tmp_path, offline=True) == examples
    assert documents("acme/reviews", tmp_path) == examples
    assert not hub


def test_images_of_the_default_configuration(hub, tmp_path):
    examples = read_images("hf:acme/pictures", tmp_path, False).examples
    assert [(example.item, example.class_name) for example in examples] == [
        (b"\x89PNG", "bad"),
        (b"\x89PNG", "good"),
    ]


def test_a_configuration_by_its_name(hub, tmp_path):
    assert [example.item for example in documents("acme/many:de", tmp_path)] == ["ja"]
    assert [example.item for example in documents("acme/many:en", tmp_path)] == ["yes", "no"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme/many", r"has no configuration 'default' \(there are .*de.*en.*\); write hf:acme/many:CONF"),
        ("acme/many:dx", r"no configuration 'dx' .*choose one of de, en"),
        ("acme/large", "only the beginning of 'hf:acme/large'.*give parquet:PATH"),
        ("acme/nothing", "the hub has no data set 'acme/nothing', or not for everybody; check the name"),
        ("acme/unconverted", "has not converted 'acme/unconverted' to Parquet"),
        ("../..", r"'hf:../..' names no data set; write hf:OWNER/NAME"),
        ("acme/a b", "names no data set"),
    ],
)
def test_what_cannot_be_had_is_told_in_a_line(hub, tmp_path, name, message):
    with pytest.raises(UserError, match=message) as told:
        documents(name, tmp_path)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.glob("hf/*/"))


def test_without_a_network(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"'hf:acme/reviews' cannot be had: .*; check the name and"):
        documents("acme/reviews", tmp_path)
    with pytest.raises(UserError, match=r"is not in .* and `offline` is on; run once without `offline`"):
        documents("acme/reviews", tmp_path, offline=True)


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"needs the package huggingface_hub .*'\.\[hf\]'"):
        documents("acme/reviews", tmp_path)

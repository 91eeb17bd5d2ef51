import json

import pytest

from xmodal.core.clock import Clock


def test_stages_are_timed_and_said():
    said = []
    clock = Clock(said.append)
    with clock.stage("data"):
        pass
    assert 0 <= clock.seconds["data"] < 1
    assert said[0].split() == ["data", "0.0", "s"]
    assert clock.wall_seconds() >= clock.seconds["data"]


def test_an_interrupted_stage_goes_on_where_it_was(tmp_path):
    kept = tmp_path / "seconds.json"
    said = []
    with pytest.raises(KeyboardInterrupt), Clock(said.append, kept).stage("data"):
        raise KeyboardInterrupt
    assert said == []
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps({"seconds": {"data": 40.0}, "wall": 50.0 + told["wall"]}))
    clock = Clock(said.append, kept)
    with clock.stage("data"):
        pass
    assert 40 <= clock.seconds["data"] < 41
    assert 50 <= clock.wall_seconds() < 52
    assert json.loads(kept.read_text())["seconds"] == clock.seconds


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"{}",
        b'{"seconds": [], "wall": 1}',
        b'{"seconds": {"data": "x"}, "wall": 1}',
        b'{"seconds": {"data": NaN}, "wall": 1}',
        b'{"seconds": {"data": -1}, "wall": 1}',
        b'{"seconds": {"data": 1}, "wall": Infinity}',
        b'{"seconds": {"data": 1}, "wall": null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_broken_times_are_told_and_left(tmp_path, content):
    kept = tmp_path / "seconds.json"
    kept.write_bytes(content)
    said = []
    clock = Clock(said.append, kept)
    assert "seconds.json' is broken" in said[0]
    assert clock.seconds == {}
    with clock.stage("data"):
        pass
    assert json.loads(kept.read_text())["seconds"] == clock.seconds

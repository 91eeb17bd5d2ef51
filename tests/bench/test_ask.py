"""The benchmark of answers in words."""

from tiny_speaker import FLAGS, run_small, save_speaker

from xmodal.bench import ask


def test_every_photograph_is_asked_about_and_classified(tmp_path, monkeypatch):
    monkeypatch.chdir(save_speaker(tmp_path, FLAGS, images=16, noise=40))
    monkeypatch.setattr(ask, "PHOTOGRAPHS", 40)
    figures = run_small(ask.measure)
    assert (figures["photographs"], figures["answers"]) == (40, 2)
    assert figures["rate"]["first"] > 0
    assert figures["rate"]["ratio_least"] <= figures["rate"]["ratio"] <= figures["rate"]["ratio_most"]
    (table,) = ask.tables(figures)
    assert "2 answers asked of 40" in table.caption
    assert len(table.rows[0]) == len(table.head)

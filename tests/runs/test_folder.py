import json

import pytest

from xmodal.core.errors import UserError
from xmodal.runs import folder as run_folder

FLAGS = "--seed=0\n--epochs=3\n--noexport\n--output_dir=x\n"


def begin(folder, flags=FLAGS, *, overwrite=False, restart=False):
    return run_folder.begin(folder, flags, overwrite=overwrite, restart=restart)


def finished(folder):
    begin(folder)
    (folder / "metrics.json").write_text("{}")
    record = {"flags": FLAGS, "finished": True}
    (folder / "checkpoints/run.json").write_text(json.dumps(record))


def test_a_new_run_writes_its_flags(tmp_path):
    assert begin(tmp_path) is False
    assert (tmp_path / "config.cfg").read_text() == FLAGS
    assert json.loads((tmp_path / "checkpoints/run.json").read_text()) == {"flags": FLAGS, "finished": False}


def test_an_unfinished_run_is_gone_on_with(tmp_path, capsys):
    begin(tmp_path)
    (tmp_path / "checkpoints/state").touch()
    assert begin(tmp_path) is True
    assert (tmp_path / "checkpoints/state").exists()
    assert f"going on with the unfinished run in {tmp_path}" in capsys.readouterr().out


def test_a_run_with_metrics_whose_export_was_interrupted_is_unfinished(tmp_path):
    begin(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    # The same command, --overwrite included, goes on too.
    assert begin(tmp_path, overwrite=True) is True
    assert (tmp_path / "metrics.json").exists()


def test_other_flags_are_named_and_refused(tmp_path):
    begin(tmp_path)
    with pytest.raises(UserError, match=r"other flags: it has --seed=0, this one --seed=1; .* add --restart"):
        begin(tmp_path, FLAGS.replace("seed=0", "seed=1"))


def test_flags_that_change_no_result_may_change(tmp_path):
    begin(tmp_path)
    assert begin(tmp_path, "--seed=0\n--epochs=3\n--export\n--output_dir=y\n--checkpoint_steps=5\n") is True


def test_restart_drops_an_unfinished_run(tmp_path):
    begin(tmp_path)
    (tmp_path / "checkpoints/state").touch()
    assert begin(tmp_path, FLAGS.replace("seed=0", "seed=1"), restart=True) is False
    assert not (tmp_path / "checkpoints/state").exists()
    assert "--seed=1" in (tmp_path / "config.cfg").read_text()


def test_a_finished_run_is_refused_or_overwritten(tmp_path):
    finished(tmp_path)
    with pytest.raises(UserError, match="holds a finished run; choose another folder or add --overwrite"):
        begin(tmp_path)
    assert begin(tmp_path, overwrite=True) is False
    assert not (tmp_path / "metrics.json").exists()


def test_a_run_from_before_there_were_checkpoints_is_finished(tmp_path):
    (tmp_path / "config.cfg").write_text(FLAGS)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="holds a finished run"):
        begin(tmp_path)


@pytest.mark.parametrize("name", run_folder.LEFT)
def test_what_no_run_left_is_never_removed(tmp_path, name):
    (tmp_path / name).write_text("--experiment=vgg_to_bert\n")
    for options in ({}, {"overwrite": True}, {"restart": True}):
        with pytest.raises(UserError, match=f"holds '{name}', which no run left there; choose another"):
            begin(tmp_path, **options)
    assert (tmp_path / name).read_text() == "--experiment=vgg_to_bert\n"


def test_a_run_that_died_while_it_removed_another_one_is_begun_anew(tmp_path):
    finished(tmp_path)
    (tmp_path / "checkpoints/run.json").unlink()
    (tmp_path / "metrics.json").unlink()
    (tmp_path / "checkpoints/state").touch()
    assert begin(tmp_path) is False
    assert not (tmp_path / "checkpoints/state").exists()


def test_links_in_the_folder_stay_and_lead_to_the_new_run(tmp_path):
    folder = tmp_path / "run"
    finished(folder)
    for name in ("checkpoints", "metrics.json", "config.cfg"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    begin(folder, FLAGS.replace("seed=0", "seed=1"), overwrite=True)
    assert all((folder / name).is_symlink() for name in ("checkpoints", "metrics.json", "config.cfg"))
    assert not (tmp_path / "metrics.json").exists()
    assert "--seed=1" in (tmp_path / "config.cfg").read_text()
    assert json.loads((tmp_path / "checkpoints/run.json").read_text())["finished"] is False


@pytest.mark.parametrize(
    "content",
    [
        b'{"flags',
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"flags": "--seed=0"}',
        b'{"flags": 3, "finished": false}',
        b'{"flags": "--seed=0", "finished": "no"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_a_broken_record_is_told(tmp_path, content):
    begin(tmp_path)
    (tmp_path / "checkpoints/run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run.json' is broken .*; add --restart to begin anew"):
        begin(tmp_path)
    assert begin(tmp_path, restart=True) is False
    (tmp_path / "metrics.json").touch()
    (tmp_path / "checkpoints/run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run.json' is broken .*; add --overwrite to replace what is there"):
        begin(tmp_path)
    assert begin(tmp_path, overwrite=True) is False


def test_restart_drops_a_run_that_was_killed_after_it_had_measured(tmp_path):
    begin(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert run_folder.unfinished(tmp_path)
    assert begin(tmp_path, restart=True) is False
    assert not (tmp_path / "metrics.json").exists()
    finished(tmp_path)
    with pytest.raises(UserError, match="holds a finished run"):
        begin(tmp_path, restart=True)
    assert not run_folder.unfinished(tmp_path)


def test_a_run_removes_what_a_killed_one_was_writing(tmp_path):
    begin(tmp_path)
    (tmp_path / "checkpoints/images").mkdir()
    (tmp_path / "checkpoints/images/.0000000001.xmodal-abc").mkdir()
    (tmp_path / ".metrics.json.xmodal-abc").touch()
    assert begin(tmp_path) is True
    assert [path for path in tmp_path.rglob("*") if "xmodal-" in path.name] == []


def hold(folder, **options):
    return run_folder.held(folder, FLAGS, **{"overwrite": False, "restart": False} | options)


def test_a_refused_run_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no such data"), hold(tmp_path / "runs/a"):
        raise UserError("no such data", "give another")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_that_has_kept_something_goes_on(tmp_path):
    with pytest.raises(UserError, match="no space"), hold(tmp_path / "run"):  # noqa: PT012
        (tmp_path / "run/checkpoints/images").mkdir()
        raise UserError("no space", "make some")
    with pytest.raises(UserError, match="no space"), hold(tmp_path / "run"):
        raise UserError("no space", "make some")
    with hold(tmp_path / "run"):
        pass
    assert not run_folder.unfinished(tmp_path / "run")


def test_an_interrupted_run_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), hold(tmp_path / "run"):
        raise KeyboardInterrupt
    assert run_folder.unfinished(tmp_path / "run")

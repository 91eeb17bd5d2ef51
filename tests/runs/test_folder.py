import json
import shutil

import pytest

from xmodal.core.errors import UserError
from xmodal.core.files import write_text
from xmodal.runs import folder as run_folder

FLAGS = "--seed=0\n--epochs=3\n--noexport\n--output_dir=x\n"


def begin(folder, flags=FLAGS, *, overwrite=False, restart=False):
    return run_folder.begin(folder, flags, overwrite=overwrite, restart=restart)


def train(folder, stage="images"):
    """Leaves a state of a stage, as `Checkpoints` does."""
    (folder / "checkpoints" / stage / "0000000001").mkdir(parents=True)


def finished(folder):
    begin(folder)
    (folder / "metrics.json").write_text("{}")
    record = {"flags": FLAGS, "finished": True}
    (folder / "checkpoints/run.json").write_text(json.dumps(record))


def test_a_new_run_writes_its_flags(tmp_path):
    assert begin(tmp_path) is False
    assert (tmp_path / "config.cfg").read_text() == FLAGS
    assert json.loads((tmp_path / "checkpoints/run.json").read_text()) == {
        "flags": FLAGS,
        "finished": False,
        "data": {},
    }


def test_an_unfinished_run_is_gone_on_with(tmp_path, capsys):
    begin(tmp_path)
    train(tmp_path)
    assert begin(tmp_path) is True
    assert (tmp_path / "checkpoints/images/0000000001").exists()
    assert f"going on with the unfinished run in {tmp_path}" in capsys.readouterr().out


def test_a_run_with_metrics_whose_export_was_interrupted_is_unfinished(tmp_path):
    begin(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    # The same command, --overwrite included, goes on too.
    assert begin(tmp_path, overwrite=True) is True
    assert (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("--seed=0", "--seed=1", "it has --seed=0; this one --seed=1;"),
        ("--seed=0\n", "", "it has --seed=0; this one no --seed;"),
        ("--seed", "--encoding=latin-1\n--seed", "it has no --encoding; this one --encoding=latin-1;"),
        ("--seed", "--nobaseline\n--seed", "it has no --baseline; this one --nobaseline;"),
        ("--epochs=3", "--epochs=4\n--deterministic", "it has no --deterministic, --epochs=3; this one "),
        ("--epochs=3", "--epochs=3\n--epochs=5", "it has --epochs=3; this one --epochs=3 --epochs=5;"),
    ],
)
def test_other_flags_are_refused_with_both_values(tmp_path, old, new, told):
    begin(tmp_path)
    train(tmp_path)
    with pytest.raises(UserError, match=r"other flags: .* add `restart`") as refused:
        begin(tmp_path, FLAGS.replace(old, new))
    assert told in str(refused.value)


def test_of_many_other_flags_a_few_are_named(tmp_path):
    begin(tmp_path)
    train(tmp_path)
    with pytest.raises(UserError, match="and 96 more") as refused:
        begin(tmp_path, FLAGS + "".join(f"--flag_{number}={number}\n" for number in range(101)))
    assert len(str(refused.value)) < 400


def test_what_has_trained_nothing_binds_nothing(tmp_path):
    begin(tmp_path)
    run_folder.bind(tmp_path, {"ids": "1"})
    # As of a process that was killed while it wrote its first state.
    (tmp_path / "checkpoints/images/.0000000001.xmodal-abc").mkdir(parents=True)
    assert begin(tmp_path, FLAGS + "--fallback_encoding=latin-1\n") is False
    assert (tmp_path / "config.cfg").read_text().endswith("--fallback_encoding=latin-1\n")
    run_folder.bind(tmp_path, {"ids": "2"})
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="other flags"):
        begin(tmp_path)


def test_a_run_goes_on_with_the_same_data_alone(tmp_path):
    begin(tmp_path)
    run_folder.bind(tmp_path, {"--target_map": "0"})
    run_folder.bind(tmp_path, {"ids of the examples": "1", "labels of the examples": "2"})
    # Until it has trained, the data may be mended.
    run_folder.bind(tmp_path, {"labels of the examples": "3"})
    train(tmp_path)
    assert begin(tmp_path) is True
    run_folder.bind(tmp_path, {"ids of the examples": "1", "labels of the examples": "3"})
    with pytest.raises(UserError, match="begun with other data: changed are labels of the examples; put"):
        run_folder.bind(tmp_path, {"ids of the examples": "1", "labels of the examples": "4"})
    with pytest.raises(UserError, match="begun with other data: changed are --target_map; put"):
        run_folder.bind(tmp_path, {"--target_map": "5"})
    assert begin(tmp_path, restart=True) is False
    run_folder.bind(tmp_path, {"--target_map": "5"})
    with hold(tmp_path):
        pass
    assert json.loads((tmp_path / "checkpoints/run.json").read_text())["finished"] is True


def test_a_folder_without_a_run_is_bound_to_nothing(tmp_path):
    run_folder.bind(tmp_path, {"ids": "1"})
    assert list(tmp_path.iterdir()) == []


def test_flags_that_change_no_result_may_change(tmp_path):
    begin(tmp_path)
    train(tmp_path)
    assert begin(tmp_path, "--seed=0\n--epochs=3\n--export\n--output_dir=y\n--checkpoint_steps=5\n") is True


def test_restart_drops_an_unfinished_run(tmp_path):
    begin(tmp_path)
    train(tmp_path)
    assert begin(tmp_path, FLAGS.replace("seed=0", "seed=1"), restart=True) is False
    assert not (tmp_path / "checkpoints/images").exists()
    assert "--seed=1" in (tmp_path / "config.cfg").read_text()


def test_a_finished_run_is_refused_or_overwritten(tmp_path):
    finished(tmp_path)
    with pytest.raises(UserError, match="holds a finished run; choose another folder or add `overwrite`"):
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
        b'{"flags": "--seed=0", "finished": false, "data": []}',
        b'{"flags": "--seed=0", "finished": false, "data": {"ids": 3}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_a_broken_record_is_told(tmp_path, content):
    begin(tmp_path)
    (tmp_path / "checkpoints/run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run.json' is broken .*; add `restart` to begin anew"):
        begin(tmp_path)
    assert begin(tmp_path, restart=True) is False
    (tmp_path / "metrics.json").touch()
    (tmp_path / "checkpoints/run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run.json' is broken .*; add `overwrite` to replace what is there"):
        begin(tmp_path)
    assert begin(tmp_path, overwrite=True) is False


def test_restart_drops_a_run_that_was_killed_after_it_had_measured(tmp_path):
    begin(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert run_folder.is_unfinished(tmp_path)
    assert begin(tmp_path, restart=True) is False
    assert not (tmp_path / "metrics.json").exists()
    finished(tmp_path)
    with pytest.raises(UserError, match="holds a finished run"):
        begin(tmp_path, restart=True)
    assert not run_folder.is_unfinished(tmp_path)


def test_a_run_removes_what_a_killed_one_was_writing(tmp_path):
    begin(tmp_path)
    train(tmp_path)
    (tmp_path / "checkpoints/images/.0000000001.xmodal-abc").mkdir()
    (tmp_path / ".metrics.json.xmodal-abc").touch()
    assert begin(tmp_path) is True
    assert [path for path in tmp_path.rglob("*") if "xmodal-" in path.name] == []


def hold(folder, **options):
    return run_folder.lock_run_folder(folder, FLAGS, **{"overwrite": False, "restart": False} | options)


def test_a_refused_run_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no such data"), hold(tmp_path / "runs/a"):
        raise UserError("no such data", "give another")
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_folder_is_removed_leaves_the_next_one_alone(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"run' was removed or replaced"), hold(run):  # noqa: PT012
        shutil.rmtree(run)
        (run / "checkpoints").mkdir(parents=True)
        there = [run / ".lock", run / "checkpoints", run / "checkpoints/run.json"]
        for file in there[::2]:
            file.touch()
        write_text(run / "report.html", "")
    assert sorted(run.rglob("*")) == there


def test_a_run_whose_folder_is_emptied_writes_its_flags_again(tmp_path):
    with hold(tmp_path):
        shutil.rmtree(tmp_path / "checkpoints")
        (tmp_path / "config.cfg").unlink()
    assert (tmp_path / "config.cfg").read_text() == FLAGS
    assert not run_folder.is_unfinished(tmp_path)


def test_a_refused_run_that_has_kept_something_goes_on(tmp_path):
    with pytest.raises(UserError, match="no space"), hold(tmp_path / "run"):  # noqa: PT012
        train(tmp_path / "run")
        raise UserError("no space", "make some")
    with pytest.raises(UserError, match="no space"), hold(tmp_path / "run"):
        raise UserError("no space", "make some")
    with hold(tmp_path / "run"):
        pass
    assert not run_folder.is_unfinished(tmp_path / "run")


def test_an_interrupted_run_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), hold(tmp_path / "run"):
        raise KeyboardInterrupt
    assert run_folder.is_unfinished(tmp_path / "run")

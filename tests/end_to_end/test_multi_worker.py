"""Two real processes that train together."""

import json
import re
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_data
import warm_python
from kills import without_seconds
from worker import configuration, trained

from xmodal.core.errors import UserError
from xmodal.training.cluster import Worker, current_worker, wait_for_hosts

PROGRAM = Path(__file__).parents[1] / "helpers" / "worker.py"
# README states it.
NOTICED_SECONDS = 30


def free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    for opened in with_sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in with_sockets]
    for opened in with_sockets:
        opened.close()
    return ports


@pytest.fixture
def launch():
    """Starts both processes of a job; what still runs at the end of a test is killed."""
    started: list[subprocess.Popen] = []

    def both(command_of, cwd: Path | None = None) -> list[subprocess.Popen]:
        ports = free_ports(2)
        processes = [
            subprocess.Popen(
                [warm_python.path(), *command_of(index)],
                env=configuration(ports, index),
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(2)
        ]
        started.extend(processes)
        return processes

    yield both
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def start(launch, tmp_path):
    """Starts both processes of a training."""
    return lambda *arguments: launch(lambda index: [str(PROGRAM), str(tmp_path / f"{index}.npz"), *arguments])


def finish(processes: list[subprocess.Popen], code: int = 0, seconds: float = 120) -> list[str]:
    outputs = [process.communicate(timeout=seconds)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), "\n".join(outputs)
    return outputs


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as held:
        return dict(held)


def assert_close(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def alone(one_device):
    return trained(one_device)


def test_two_processes_and_two_devices_end_as_one_device_does(alone, mirrored, start, tmp_path):
    assert_close(alone, trained(mirrored))
    finish(start())
    for index in range(2):
        assert_close(alone, arrays(tmp_path / f"{index}.npz"))


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_death_is_noticed_and_the_job_goes_on_from_the_last_checkpoint(alone, start, tmp_path, killed):
    processes = start(str(tmp_path / "kept"))
    assert any(line == "step 3\n" for line in processes[0].stdout)
    warm_python.kill(processes[killed])
    died = time.monotonic()
    output, _ = processes[1 - killed].communicate(timeout=120)
    assert time.monotonic() - died < NOTICED_SECONDS
    assert processes[1 - killed].returncode == 75, output
    assert "lost: " in output
    processes[killed].communicate()
    assert list((tmp_path / "kept" / "several").glob("[0-9]*"))
    first = finish(start(str(tmp_path / "kept")))[0]
    # It did not begin anew.
    assert first.count("step 0\n") < 4
    for index in range(2):
        assert_close(alone, arrays(tmp_path / f"{index}.npz"))


@pytest.mark.slow
def test_both_processes_stop_after_one_step_when_one_is_told_to(alone, start, tmp_path):
    processes = start(str(tmp_path / "kept"))
    assert any(line == "step 3\n" for line in processes[1].stdout)
    processes[1].terminate()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [75, -15], outputs
    assert "another process of the job was told to stop" in outputs[0]
    finish(start(str(tmp_path / "kept")))
    assert_close(alone, arrays(tmp_path / "0.npz"))


@pytest.mark.slow
def test_a_death_after_any_stage_ends_the_other_and_the_job_goes_on(launch, tmp_path):
    """After each line about a stage one of the two dies, by turns; at last it is as if none had."""
    tiny_data.save_tiny_data(tmp_path)
    flags = ["--experiment=vgg_to_bert", "--deterministic", "--checkpoint_steps=1", "--nobaseline"]
    flags += [flag for flag in tiny_data.flags_for(*flags) if not flag.startswith("--strategy=")]

    def start_run(name: str) -> list[subprocess.Popen]:
        places = [f"--output_dir={name}", f"--saved_models_dir={name}_models"]
        command = ["-u", "-m", "xmodal.run", *flags, *places, "--strategy=multi_worker"]
        return launch(lambda index: command, tmp_path)

    def results(name: str):
        return without_seconds(json.loads((tmp_path / name / "metrics.json").read_text())["results"])

    whole = finish(start_run("whole"), seconds=600)[0].partition("all stages")[0]
    stages = list(dict.fromkeys(re.findall(r"^(\S.*?)  +[\d.]+ s$", whole, re.MULTILINE)))
    assert {"data", "image classifier", "text: head", "evaluation"} <= set(stages)
    # Before they have met, the one that is left waits for the other: see below.
    for turn, stage in enumerate([*stages[1:], "export"]):
        processes = start_run("cut")
        killed, left = processes[turn % 2], processes[1 - turn % 2]
        said: list[str] = []
        for line in processes[0].stdout:
            said.append(line)
            if line.startswith(f"{stage}  "):
                break
        else:
            pytest.fail(f"{stage}: {''.join(said)}")
        killed.kill()
        died = time.monotonic()
        output, _ = left.communicate(timeout=600)
        killed.communicate()
        assert left.returncode == 75, f"{stage}: {output}"
        assert time.monotonic() - died < NOTICED_SECONDS, stage
    finish(start_run("cut"), seconds=600)
    assert results("cut") == results("whole")


def test_processes_with_different_flags_end_before_they_train(launch, tmp_path):
    command = ["-m", "xmodal.run", "--strategy=multi_worker", "--offline"]
    command.append(f"--dataset=folder:{tmp_path / 'missing'}")
    processes = launch(lambda index: [*command, f"--seed={index}", f"--output_dir={tmp_path / str(index)}"])
    first, second = (output.splitlines()[-1] for output in finish(processes, code=2))
    assert first.startswith("error: worker 1 of the job differs from worker 0; its own error says in what; ")
    told = "error: worker 1 of the job differs from worker 0: flags (--seed=1 here, --seed=0 there); "
    assert second.startswith(told)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_process_is_named_and_not_waited_for_forever():
    here, missing = free_ports(2)
    lines: list[str] = []
    hosts = [f"127.0.0.1:{port}" for port in (here, missing)]
    with pytest.raises(
        UserError, match=rf"^worker 1 \(127.0.0.1:{missing}\) of the job did not start within 1 s"
    ):
        wait_for_hosts(hosts, Worker(0, 2), seconds=1, pause=0.1, log=lines.append)
    assert lines == [f"waiting for worker 1 (127.0.0.1:{missing}), at most 1 s"]


def test_two_processes_with_one_number_are_told():
    here, other = free_ports(2)
    hosts = [f"127.0.0.1:{port}" for port in (here, other)]
    with socket.create_server(("", here)), pytest.raises(UserError, match=f"worker 0 .* port {here}"):
        wait_for_hosts(hosts, Worker(0, 2), seconds=1)


TWO = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": %s}}'
WITH_CHIEF = '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "%s", "index": 0}}'


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TF_CONFIG": TWO % 0}, Worker(0, 2)),
        ({"TF_CONFIG": TWO % 1}, Worker(1, 2)),
        ({"TF_CONFIG": WITH_CHIEF % "chief"}, Worker(0, 2)),
        ({"TF_CONFIG": WITH_CHIEF % "worker"}, Worker(1, 2)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, Worker(3, 4)),
    ],
)
def test_the_place_is_told_by_tf_config_or_slurm(environment, expected):
    assert current_worker("multi_worker", environment) == expected
    assert current_worker("mirrored", environment) == Worker(0, 1)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "needs to know the other hosts; set TF_CONFIG on each host"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG='{' cannot be used"),
        ({"TF_CONFIG": TWO % 2}, "there is no task worker 2"),
        ({"TF_CONFIG": "[]"}, "cannot be used"),
    ],
)
def test_an_unusable_place_is_told(environment, told):
    with pytest.raises(UserError, match=told):
        current_worker("multi_worker", environment)

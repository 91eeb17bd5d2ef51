"""Which flags an experiment reads, and the refusal of those that it does not."""

import re
import shlex
from pathlib import Path

import option_reads
import pytest
from absl.testing import flagsaver

from xmodal.config import flags as config_flags
from xmodal.config.conditions import CONDITIONS
from xmodal.config.config import GROUPS
from xmodal.config.experiments import EXPERIMENTS
from xmodal.config.fields import options_of
from xmodal.core.errors import UserError
from xmodal.run import main

ROOT = Path(__file__).parents[2]
EVERY = set(config_flags.flag_names())
BENCH = {name for name, _ in options_of(GROUPS["bench"])}
# What is looked at whatever the experiment is, at the beginning and the end of a run, by the training of
# all image classifiers, or by any training that is told nothing else: the rows alone say where it changes
# something, and it is refused elsewhere.
EVERYWHERE = {"small", "feature_cache_gb", "mirror", "batch_size", "patience"}
FLAGFILES = sorted((ROOT / "experiments").glob("*.cfg"))


def require_read(*arguments: str) -> None:
    """Parses a command line as `xmodal.run` does, and leaves the flags as they were."""
    with flagsaver.flagsaver():
        config_flags.parse(["run", *arguments])
        config_flags.require_read(config_flags.from_flags(), ["run", *arguments])


# The table is what the sources read.


def starts(experiment: str) -> tuple[str, ...]:
    return f"xmodal.recipes.{experiment}.recipe.run", "xmodal.run.main"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_reads_what_its_row_says(experiment):
    found = set().union(*(each.options for each in option_reads.reached(*starts(experiment))))
    named = set(EXPERIMENTS[experiment].made_from)
    assert found - EVERYWHERE == EXPERIMENTS[experiment].reads - EVERYWHERE
    assert named <= found


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_compressed_forms_are_made_where_the_row_says_so(experiment):
    used = set().union(*(each.names for each in option_reads.reached(*starts(experiment))))
    made = any(name.startswith("xmodal.export.compressed.") for name in used)
    assert made == EXPERIMENTS[experiment].compressed == ("small" in EXPERIMENTS[experiment].reads)


def test_every_recipe_is_an_experiment():
    folders = {path.parent.name for path in (ROOT / "xmodal/recipes").glob("*/recipe.py")}
    assert folders == set(EXPERIMENTS)


def test_the_types_of_settings_are_known():
    """Otherwise the test above would miss what is read of them: annotate the argument."""
    found = [option_reads.reached(*starts(experiment)) for experiment in EXPERIMENTS]
    assert set().union(*(each.unknown for of_one in found for each in of_one)) == set()


def test_every_flag_is_read_by_an_experiment_or_a_benchmark():
    read = set().union(*(experiment.reads for experiment in EXPERIMENTS.values()))
    assert read | BENCH == EVERY
    assert read & BENCH == set()


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.given)
def test_a_condition_is_on_flags_that_are_read(condition):
    read = set().union(*(experiment.reads for experiment in EXPERIMENTS.values()))
    assert set(condition.options.split()) <= read


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--experiment=bert_news", "--mirror"],
            "--mirror is not read by --experiment=bert_news; leave it out: --mirror is for vgg_to_bert",
        ),
        # At its default it is a mistake, too.
        (
            ["--experiment=vgg_to_vgg", "--scrub"],
            "--scrub is not read by --experiment=vgg_to_vgg; leave it out: --scrub is for",
        ),
        (
            ["--dataset=csv:photos.csv", "--image_column=picture", "--nofreeze_moved"],
            "--image_column=picture --nofreeze_moved are not read by --experiment=vgg_to_bert; leave them "
            "out: --image_column is for fusion",
        ),
        (["--experiment=cnn_to_text", "--robust"], "--robust is not read by --experiment=cnn_to_text; leave"),
        (["--experiment=fusion", "--attacked_examples=3"], "--attacked_examples=3 is not read by"),
        (["--experiment=vgg_to_vgg", "--small"], "--small is not read by --experiment=vgg_to_vgg; leave it"),
        (
            ["--rows=text"],
            "--rows=text is not read by --experiment=vgg_to_bert; leave it out: --rows is for python",
        ),
        (
            ["--slips=0.1", "--experiment=bert_news"],
            "--slips=0.1 changes nothing without --attacked_examples or",
        ),
        (["--attack_steps=3", "--robust"], "--attack_steps=3 changes nothing without --attacked_examples;"),
        (["--top_k=2"], "--top_k=2 changes nothing without --text_style=topk; leave it out, or give --text"),
        (
            ["--text_head=zero_shot", "--text_epochs=2", "--layer_decay=0.5"],
            "--text_epochs=2 --layer_decay=0.5",
        ),
        (["--nobaseline", "--per_class=5,all"], "--per_class=5,all changes nothing without --baseline;"),
        (
            ["--experiment=bert_news", "--label_column=topic"],
            "--label_column=topic changes nothing without a",
        ),
        (
            ["--experiment=names_to_answers", "--target=VGG16"],
            "--target=VGG16 changes nothing without --adapt=noisy_student;",
        ),
        (["--experiment=fusion", "--image_column=a"], "--image_column=a changes nothing without a table of"),
        (
            ["--experiment=fusion", "--pairs=csv:a.csv", "--misread=0.1"],
            "--misread=0.1 changes nothing without",
        ),
        (
            ["--experiment=cnn_to_text", "--unseen=0", "--seen_per_class=3"],
            "--seen_per_class=3 changes nothing",
        ),
        (
            ["--experiment=text_to_image", "--image_generator=preset:x", "--solver=heun"],
            "--solver=heun changes nothing without --image_generator=flow;",
        ),
    ],
)
def test_a_flag_that_changes_nothing_is_refused(arguments, told):
    with pytest.raises(UserError) as caught:
        require_read(*arguments)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--experiment=bert_news", "--robust", "--slips=0.1"],
        ["--attacked_examples=2", "--attack_steps=3", "--pixel_budgets=4"],
        ["--text_style=topk", "--top_k=2"],
        ["--experiment=cnn_to_text", "--nobaseline", "--per_class=5"],
        ["--experiment=bert_news", "--test_documents=a=csv:a.csv", "--label_column=topic"],
        ["--experiment=fusion", "--pairs=csv:a.csv", "--image_column=a", "--text_column=b"],
        ["--text_head=zero_shot", "--nobaseline"],
    ],
)
def test_a_flag_that_changes_something_is_taken(arguments):
    require_read(*arguments)


def test_the_command_refuses_it_before_anything_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with flagsaver.flagsaver():
        assert main(["run", "--experiment=fusion", "--mirror"]) == 2
    assert capsys.readouterr().err.startswith("error: --mirror is not read by --experiment=fusion; ")
    assert not list(tmp_path.iterdir())


# What is taken.


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
def test_a_shipped_flagfile_names_only_what_its_experiment_reads(flagfile, monkeypatch):
    monkeypatch.chdir(ROOT)
    require_read(f"--flagfile={flagfile}")


@pytest.mark.parametrize("off", ["--nobaseline", "--attacked_examples=0"])
def test_what_a_flagfile_sets_may_be_switched_off(off, monkeypatch):
    monkeypatch.chdir(ROOT)
    require_read("--flagfile=experiments/bert_news.cfg", off)


@pytest.mark.parametrize("flagfile", FLAGFILES, ids=lambda path: path.stem)
def test_the_flags_of_a_finished_run_are_taken_again(flagfile, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    with flagsaver.flagsaver():
        config_flags.parse(["run", f"--flagfile={flagfile}"])
        (tmp_path / "config.cfg").write_text(config_flags.from_flags().flagfile)
    require_read(f"--flagfile={tmp_path / 'config.cfg'}")


def test_a_flag_that_is_not_read_is_refused_beside_those_of_a_finished_run(tmp_path):
    with flagsaver.flagsaver():
        config_flags.parse(["run", "--experiment=fusion", "--mirror"])
        (tmp_path / "config.cfg").write_text(config_flags.from_flags().flagfile)
    with pytest.raises(UserError, match="--mirror is not read by --experiment=fusion"):
        require_read(f"--flagfile={tmp_path / 'config.cfg'}")


PAGES = ("README.md", "README.zh-CN.md", "experiments/README.md", "experiments/running.md")
RUN = re.compile(r"(?:python -m xmodal\.run|xmodal run)((?: --[^\s`&]+(?:'[^']*')?)+)")


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_name_only_what_is_read(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = RUN.findall((ROOT / page).read_text().replace("\\\n", " "))
    for command in commands:
        words = [word for word in shlex.split(command) if not word.startswith("--help")]
        if all(Path(word.partition("=")[2]).exists() for word in words if word.startswith("--flagfile")):
            require_read(*words)
    assert commands or page == "experiments/README.md"


# Help.


def helped(*arguments: str) -> str:
    with flagsaver.flagsaver():
        return config_flags.help_text(["run", *arguments])


def flags_of(text: str) -> set[str]:
    return set(re.findall(r"^  --(?:\[no\])?(\w+)", text, re.MULTILINE))


def test_help_has_every_flag_by_topic():
    text = helped("--help")
    assert flags_of(text) == EVERY
    for group in GROUPS.values():
        topic, _, others = text.partition(f"\n\n{group.__doc__.splitlines()[0].rstrip('.')}\n")[2].partition(
            "\n\n"
        )
        assert flags_of(topic) == {name for name, _ in options_of(group)}
        assert others


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_help_of_an_experiment_has_what_it_reads(experiment):
    assert flags_of(helped("--help", f"--experiment={experiment}")) == EXPERIMENTS[experiment].reads


def test_help_says_defaults_and_limits():
    text = helped("--help", "--experiment=vgg_to_bert")
    assert "\n  --dropout=0.3\n" in text
    assert "From 0 to 0.9." in text
    assert "\n  --[no]mirror (default: off)\n" in text
    assert "\n  --scratch_learning_rates=1e-4,3e-4,1e-3\n" in text
    assert "One of adamw, sgd." in text


def test_help_says_what_changes_nothing_beside_the_other_arguments():
    def of_epochs(*arguments: str) -> str:
        text = helped("--help", "--experiment=names_to_answers", *arguments)
        return " ".join(re.search(r"^  --epochs=.*?(?=\n  --)", text, re.MULTILINE | re.DOTALL)[0].split())

    assert of_epochs().endswith("Changes nothing without --adapt=noisy_student.")
    assert "Changes nothing" not in of_epochs("--adapt=noisy_student")


def test_help_of_an_experiment_that_there_is_not(capsys):
    with flagsaver.flagsaver():
        assert main(["run", "--help", "--experiment=fusoin"]) == 2
    assert "did you mean 'fusion'?" in capsys.readouterr().err

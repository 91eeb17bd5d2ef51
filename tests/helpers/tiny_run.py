"""A finished run of few examples, and what it leaves in its folder."""

from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.data.audit import DataReport
from xmodal.evaluation.intervals import compare_paired
from xmodal.evaluation.metrics import evaluate
from xmodal.training.progress import History

NAMES = ("cat", "<b>dog</b>")
FLAGS = "--experiment=vgg_to_bert\n--output_dir={folder}\n--epochs={epochs}\n--noexport\n--drop=a\n--drop=b\n"


def finished(folder, right, epochs, **changes):
    """Writes what a run leaves that answers so many of 100 examples rightly."""
    report.write(replace(tiny_run(right, epochs), **changes), folder)
    (folder / "config.cfg").write_text(FLAGS.format(folder=folder, epochs=epochs))
    return folder


def tiny_run(right, epochs) -> report.Run:
    """Returns a run that answers so many of 100 examples rightly."""
    labels = np.arange(100) % 2
    answers = np.where(np.arange(100) < right, labels, 1 - labels)
    result = evaluate("text", np.eye(2)[answers] * 0.8 + 0.1, labels, NAMES)
    history = History(
        "images", tuple({"epoch": e, "loss": 1.0, "val_accuracy": 0.5 + e / 10} for e in range(epochs))
    )
    return report.Run(
        experiment="vgg_to_bert",
        title="VGG to BERT",
        seed=0,
        flags="",
        command="",
        data=DataReport({"train": {"cat": 1000, "dog": 234}, "test": {"cat": 50, "dog": 50}}, (), (), (), ()),
        results={"text": result},
        gains=(compare_paired(answers == labels, labels == 0),),
        seconds={"data": 1.0, "images": 131.0},
        transfer=None,
        histories=(history,),
        gallery=(),
        facts={},
    )

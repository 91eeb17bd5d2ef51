"""What a run notes of itself while it goes on."""

from types import SimpleNamespace

from xmodal.core.clock import Clock
from xmodal.runs.session import Session
from xmodal.training.trainer import Trainer


def test_the_seconds_of_a_result_are_those_of_its_stages_and_of_the_results_before_it(tmp_path):
    clock = Clock(lambda line: None)
    clock.seconds |= {"transfer": 1.0, "image classifier": 2.0, "bridge": 0.5, "text": 4.0}
    session = Session(SimpleNamespace(), clock, Trainer())
    assert session.seconds("image_only", "transfer", "image classifier") == 3.0
    assert session.seconds("text", "image_only", "bridge", "text") == 7.5
    # A stage that was left out takes no time; a result does not count twice under the name of its stage.
    assert session.seconds("fused", "text", "text: head") == 7.5
    assert session.result_seconds == {"image_only": 3.0, "text": 7.5, "fused": 7.5}


def test_exports_go_to_the_folder_of_the_experiment(tmp_path):
    run = SimpleNamespace(saved_models_dir=tmp_path, experiment="vgg_to_bert")
    session = Session(SimpleNamespace(run=run), Clock(), Trainer())
    assert session.export_folder == tmp_path / "vgg_to_bert"

"""What draws pictures for whoever has only its folder.

tests/end_to_end/test_text_to_image.py has the run's own.
"""

import numpy as np
import pytest
from tiny_stable_diffusion import save_tiny_stable_diffusion

from xmodal.core.errors import UserError
from xmodal.core.sums import write_sums
from xmodal.export.generator import load_generator, preset_generator


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_text_to_image_model_of_keras_nlp_draws(tmp_path):
    paint = preset_generator(
        save_tiny_stable_diffusion(tmp_path / "sd3"), steps=2, guidance=2.0, offline=True
    )
    pictures = paint(["airplane", "airport"], 0)
    assert pictures.shape == (2, 64, 64, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(paint(["airplane", "airport"], 0), pictures)
    assert (paint(["airplane", "airport"], 1) != pictures).any()


def test_a_preset_is_not_fetched_offline():
    with pytest.raises(
        UserError,
        match="`image_generator=preset:flux` would be fetched, which `offline` forbids; give its folder",
    ):
        preset_generator("flux", steps=2, guidance=2.0, offline=True)


def test_a_preset_that_there_is_not(tmp_path):
    with pytest.raises(
        UserError,
        match=r"the text-to-image model '.*none' could not be loaded \(.*; check the name \(there are ",
    ):
        preset_generator(str(tmp_path / "none"), steps=2, guidance=2.0)


def test_what_is_no_generator(tmp_path):
    (tmp_path / "generator.json").write_text(
        '{"shape": [8, 8, 3], "steps": 2, "guidance": 1, "solver": "euler"}'
    )
    with pytest.raises(UserError, match=r"has no SHA256SUMS: .*; give the folder of one that"):
        load_generator(tmp_path)
    write_sums(tmp_path)
    with pytest.raises(
        UserError, match=r"`model=.*` is no generator \(OSError: .*; give the folder of one that"
    ):
        load_generator(tmp_path)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ('{"shape": [8, 8], "steps": 2, "guidance": 1, "solver": "euler"}', r"'shape' is .*no list of 3"),
        (
            '{"shape": [8, 8, 3], "steps": 0, "guidance": 1, "solver": "euler"}',
            "'steps' is 0, .*not from 1",
        ),
        ('{"shape": [8, 8, 3], "steps": 2, "guidance": NaN, "solver": "euler"}', "holds NaN"),
        ('{"shape": [8, 8, 3], "steps": 2, "guidance": 1, "solver": []}', "'solver' .*none of euler, heun"),
    ],
)
def test_odd_facts_of_a_generator(tmp_path, facts, told):
    (tmp_path / "generator.json").write_text(facts)
    with pytest.raises(UserError, match=told):
        load_generator(tmp_path)

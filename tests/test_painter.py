"""What draws pictures for whoever has only its folder; tests/test_text_to_image.py has the run's own."""

import warnings

import keras_nlp
import numpy as np
import pytest

from xmodal.errors import UserError
from xmodal.painter import load_generator, preset_painter


def tiny_stable_diffusion(folder) -> str:
    """Saves a Stable Diffusion 3 of random weights, as KerasHub saves its presets."""
    models = keras_nlp.models
    words = ["air", "plane</w>", "port</w>", "<|endoftext|>", "<|startoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = ["a i", "p l", "n e</w>", "p o", "r t</w>", "ai r", "pl a", "po rt</w>", "pla ne</w>"]
    preprocessors = [
        models.CLIPPreprocessor(
            models.CLIPTokenizer(
                vocabulary, merges, pad_with_end_token=name == "clip_l", config_file=f"{name}_tokenizer.json"
            ),
            sequence_length=20,
            config_file=f"{name}_preprocessor.json",
        )
        for name in ("clip_l", "clip_g")
    ]
    backbone = models.StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=32,
        mmdit_num_layers=1,
        mmdit_num_heads=2,
        mmdit_position_size=192,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=models.VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, name="vae"),
        clip_l=models.CLIPTextEncoder(20, 64, 64, 2, 2, 128, "quick_gelu", -2, name="clip_l"),
        clip_g=models.CLIPTextEncoder(20, 64, 64, 2, 2, 128, "gelu", -2, name="clip_g"),
        image_shape=(64, 64, 3),
    )
    model = models.StableDiffusion3TextToImage(
        backbone, models.StableDiffusion3TextToImagePreprocessor(*preprocessors)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save_to_preset(str(folder))
    return str(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_text_to_image_model_of_keras_nlp_draws(tmp_path):
    paint = preset_painter(tiny_stable_diffusion(tmp_path / "sd3"), steps=2, guidance=2.0, offline=True)
    pictures = paint(["airplane", "airport"], 0)
    assert pictures.shape == (2, 64, 64, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(paint(["airplane", "airport"], 0), pictures)
    assert (paint(["airplane", "airport"], 1) != pictures).any()


def test_a_preset_is_not_fetched_offline():
    with pytest.raises(
        UserError,
        match="--image_generator=preset:flux would be fetched, which --offline forbids; give its folder",
    ):
        preset_painter("flux", steps=2, guidance=2.0, offline=True)


def test_a_preset_that_there_is_not(tmp_path):
    with pytest.raises(
        UserError,
        match=r"the text-to-image model '.*none' could not be loaded \(.*; check the name \(there are ",
    ):
        preset_painter(str(tmp_path / "none"), steps=2, guidance=2.0)


def test_what_is_no_generator(tmp_path):
    (tmp_path / "generator.json").write_text(
        '{"image_size": 8, "steps": 2, "guidance": 1, "solver": "euler"}'
    )
    with pytest.raises(
        UserError, match=r"--model=.* is no generator \(OSError: .*; give the folder of one that"
    ):
        load_generator(tmp_path)

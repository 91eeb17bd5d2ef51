"""A Stable Diffusion 3 of few random weights, saved as KerasHub saves its presets."""

import warnings

import keras_nlp

# KerasHub does not export it.
from keras_hub.src.models.vae.vae_backbone import VAEBackbone


def save_tiny_stable_diffusion(folder) -> str:
    """Saves it, and returns the folder. It draws pictures of 64 pixels."""
    models = keras_nlp.models
    merges = ["a i", "p l", "n e</w>", "p o", "r t</w>", "ai r", "pl a", "po rt</w>", "pla ne</w>"]
    pieces = [*"aiplnor", "e</w>", "t</w>", *(merge.replace(" ", "") for merge in merges)]
    words = [*pieces, "<|endoftext|>", "<|startoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
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
        vae=VAEBackbone([32] * 4, [1] * 4, [32] * 4, [1] * 4, name="vae"),
        clip_l=models.CLIPTextEncoder(len(words), 64, 64, 2, 2, 128, "quick_gelu", -2, name="clip_l"),
        clip_g=models.CLIPTextEncoder(len(words), 64, 64, 2, 2, 128, "gelu", -2, name="clip_g"),
        image_shape=(64, 64, 3),
    )
    model = models.StableDiffusion3TextToImage(
        backbone, models.StableDiffusion3TextToImagePreprocessor(*preprocessors)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save_to_preset(str(folder))
    return str(folder)

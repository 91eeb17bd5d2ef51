"""How text classifiers are trained from scratch."""

from dataclasses import replace

from xmodal.config.text import TextConfig


def text_scratch_protocol(text: TextConfig, rate: float, passes: int) -> TextConfig:
    """Returns how all layers are trained from scratch: at one rate, since none of them knows anything yet."""
    return replace(
        text,
        text_trainable="all",
        text_head_epochs=0,
        layer_decay=1.0,
        text_learning_rate=rate,
        text_epochs=passes,
    )

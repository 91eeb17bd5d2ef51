"""Draws pictures from words, or from what is heard.

    python -m xmodal.paint --model=saved_models/text_to_image_generator/1 "a seven" "the digit after six"
    python -m xmodal.paint --model=saved_models/text_to_image_generator/1 \\
        --audio=seven.wav --listener=saved_models/sound_to_text

The model is one that `--experiment=text_to_image` saved, or preset:NAME for one of keras-nlp.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code, require_png, words_or_sounds
from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write, target_of
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.report.figures import SHEET

# Of a preset, where the command line says nothing: those of Stable Diffusion 3 in keras-nlp.
PRESET_STEPS, PRESET_GUIDANCE = 28, 7.0


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.paint", __doc__)
    parser.add_argument("text", nargs="*", help="what to draw; several are drawn in rows")
    parser.add_audio("a sound to draw")
    parser.add_argument("--model", required=True, help="folder of the generator, or preset:NAME")
    parser.add_argument("--count", type=int, default=8, help="pictures of each text; 8")
    parser.add_argument("--seed", type=int, default=0, help="other pictures for another one; 0")
    parser.add_argument("--steps", type=int, help="from noise to picture; those of the run")
    parser.add_argument("--guidance", type=float, help="how far past the text; that of the run")
    parser.add_argument("--output", type=Path, default=Path("painted.png"), help="the sheet; painted.png")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    require_png(options.output, "output")
    target_of(options.output, SHEET, overwrite=options.overwrite)
    texts = words_or_sounds(options.text, options.audio, options.listener)
    for name in ("count", "steps"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}={value} is too few", "give a whole number from 1 on")
    if options.guidance is not None and not math.isfinite(options.guidance):
        raise UserError(f"--guidance={options.guidance} draws nothing", "give a finite number, such as 2")
    start_tensorflow()
    # After everything that can be told without TensorFlow.
    from xmodal.export.generator import PRESET, load_generator, preset_generator
    from xmodal.export.hearing import heard
    from xmodal.report.figures import sheet

    texts += heard(options.audio, options.listener)
    if options.model.startswith(PRESET):
        guidance = PRESET_GUIDANCE if options.guidance is None else options.guidance
        name = options.model.removeprefix(PRESET)
        paint = preset_generator(name, steps=options.steps or PRESET_STEPS, guidance=guidance)
    else:
        paint = load_generator(Path(options.model), options.steps, options.guidance)
    pictures = paint([text for text in texts for _ in range(options.count)], options.seed)
    rows = pictures.reshape(len(texts), options.count, *pictures.shape[1:])
    with atomic_write(options.output, SHEET, overwrite=options.overwrite) as file:
        file.write(
            sheet([(text, [(picture, "") for picture in row]) for text, row in zip(texts, rows, strict=True)])
        )
    log(str(options.output))


if __name__ == "__main__":
    sys.exit(main(sys.argv))

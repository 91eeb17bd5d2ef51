"""Finds pictures by words, or by what is heard.

    python -m xmodal.search --index=saved_models/text_to_image_index/1 "a truck"
    python -m xmodal.search --index=saved_models/text_to_image_index/1 \\
        --audio=seven.wav --listener=saved_models/sound_to_text

Prints the nearest pictures of an index that `--experiment=text_to_image` saved, and writes them as a sheet.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code, words_or_sounds
from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write, target_of
from xmodal.core.formatting import printable
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.report.figures import SHEET


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.search", __doc__)
    parser.add_argument("query", nargs="*", help="what the pictures show; several are searched one by one")
    parser.add_audio("a sound to look for")
    parser.add_argument("--index", required=True, type=Path, help="folder of the index")
    parser.add_argument("--top_k", type=int, default=10, help="how many pictures of each query; 10")
    parser.add_argument("--output", type=Path, default=Path("search.png"), help="the sheet; search.png")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    target_of(options.output, SHEET, overwrite=options.overwrite)
    queries = words_or_sounds(options.query, options.audio, options.listener)
    if options.top_k < 1:
        raise UserError(f"--top_k={options.top_k} is no number of pictures", "give one from 1 on")
    start_tensorflow()
    # After everything that can be told without TensorFlow.
    from xmodal.export.hearing import heard
    from xmodal.export.picture_index import load_index
    from xmodal.report.figures import sheet

    queries += heard(options.audio, options.listener)
    index, encode = load_index(options.index)
    vectors = encode(queries)
    started = time.perf_counter()
    hits, cosines = index.search(vectors, options.top_k)
    milliseconds = 1000 * (time.perf_counter() - started)
    names = [printable(index.class_names[label]) for label in index.labels]
    width = max(map(len, names))
    for query, indices, scores in zip(queries, hits, cosines, strict=True):
        log(f"{printable(query)}\n{'rank':>4}  cosine  {'class':<{width}}  picture")
        for place, (position, score) in enumerate(zip(indices, scores, strict=True), start=1):
            log(f"{place:>4}  {score:6.3f}  {names[position]:<{width}}  {printable(index.ids[position])}")
        log()
    rows = [
        (
            query,
            [
                (index.pictures[place], f"{score:.2f} {names[place]}")
                for place, score in zip(*row, strict=True)
            ],
        )
        for query, *row in zip(queries, hits, cosines, strict=True)
    ]
    with atomic_write(options.output, SHEET, overwrite=options.overwrite) as file:
        file.write(sheet(rows))
    log(f"{len(index):,} pictures searched in {milliseconds:.1f} ms; {options.output}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))

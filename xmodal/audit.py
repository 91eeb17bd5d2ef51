"""Finds labels that are doubtful: where pictures, or texts, disagree with what they are labelled.

    python -m xmodal.audit --dataset=folder:photos --output=doubtful.csv --sheet=doubtful.png
    python -m xmodal.audit --documents=csv:mail.csv --output=doubtful.csv --drop_doubtful=cleaned.csv

Nothing is trained but linear heads on what a ready network makes of the training examples, each head without
the examples that it answers for. Look at the worst; then leave them out with --drop_doubtful, or give them
the suggested labels with --relabel: both write a table that a run reads as --dataset=csv:cleaned.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code, require_png
from xmodal.core.console import log, log_error
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write, cache_folder, target_of, write_text
from xmodal.core.formatting import printable
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.report.figures import SHEET


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser("xmodal.audit", __doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="labelled images, as xmodal.run takes them")
    source.add_argument("--documents", help="labelled documents, as xmodal.run takes them")
    parser.add_argument("--speaker", default="efficientnet_lite0_imagenet", help="sees images; %(default)s")
    parser.add_argument("--speaker_names", type=Path, help="a file with its names, one a line")
    parser.add_argument("--text_encoder", default="minilm_l6", help="reads documents; %(default)s")
    parser.add_argument("--sequence_length", type=int, default=128, help="tokens of a document; %(default)s")
    parser.add_argument("--folds", type=int, default=5, help="parts of the training examples; %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="draws the parts; %(default)s")
    parser.add_argument("--offline", action="store_true", help="download nothing")
    parser.add_argument("--output", type=Path, help="a CSV of the doubtful labels, the worst first")
    parser.add_argument("--sheet", type=Path, help="a PNG of the pictures with the most doubtful labels")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--drop_doubtful", type=Path, help="a CSV of all other examples, to train on")
    group.add_argument("--relabel", type=Path, help="a CSV of all examples with the suggested labels")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    if options.folds < 2:
        raise UserError(f"--folds={options.folds} leaves nothing to learn from", "give 2 or more")
    if options.sequence_length < 3:
        raise UserError(f"--sequence_length={options.sequence_length} holds no word", "give 3 or more")
    if options.seed < 0:
        raise UserError(f"--seed={options.seed} does not fit", "give 0 or more")
    if options.sheet and options.documents:
        raise UserError("--sheet shows pictures, and --documents has none", "leave it out")
    if options.sheet:
        require_png(options.sheet, "sheet")
    return options


def _run(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    start_tensorflow()
    # After everything that can be told without TensorFlow.
    from xmodal.recipes import label_audit

    cleaned_path = options.drop_doubtful or options.relabel
    kinds = (options.output, label_audit.DOUBTS), (options.sheet, SHEET), (cleaned_path, label_audit.CLEANED)
    for path, kind in kinds:
        if path:
            target_of(path, kind, overwrite=options.overwrite)
    doubts = label_audit.audit(
        options.dataset,
        options.documents,
        reader=options.speaker if options.dataset else options.text_encoder,
        names=options.speaker_names,
        cache=cache_folder(),
        folds=options.folds,
        seed=options.seed,
        length=options.sequence_length,
        offline=options.offline,
        log=lambda line: log_error(printable(line)),
    )
    log(label_audit.doubts_table(doubts))
    if options.output:
        table = label_audit.doubts_csv(doubts)
        write_text(options.output, table, label_audit.DOUBTS, overwrite=options.overwrite)
    if options.sheet and doubts.doubts.doubtful.any():
        sheet = label_audit.doubts_sheet(doubts)
        with atomic_write(options.sheet, SHEET, overwrite=options.overwrite) as file:
            file.write(sheet)
    if cleaned_path:
        relabel = options.relabel is not None
        label_audit.write_cleaned(doubts, cleaned_path, relabel=relabel, overwrite=options.overwrite)
        flag = "dataset" if options.dataset else "documents"
        log(f"\nto train on it:\n  python -m xmodal.run --{flag}=csv:{cleaned_path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))

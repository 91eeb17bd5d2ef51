"""A page to try an exported model: drop a picture or type a text, see what was read of it and the answer.

    python -m xmodal.demo --model=saved_models/vgg_to_bert

Only this machine sees the page, until --host says otherwise, and neither asks anything of another machine.
"""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from xmodal.core.command import Parser, exit_code
from xmodal.core.errors import UserError
from xmodal.core.formatting import cut, printable
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.data.target_map import typed_answers
from xmodal.export.predictor import Answer, Item, Predictor

UPLOAD_MB = 20
# Of a text that is typed, in letters.
LONGEST = 20_000
# Probabilities that are shown, and the longer side of the picture in pixels.
SHOWN, SIDE = 10, 512
FONTS, FIXED_FONTS = ("system-ui", "sans-serif"), ("monospace",)


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 2 the user can mend it, 130 ended by Ctrl-C."""
    return exit_code(_run, argv)


def library() -> ModuleType:
    """Returns Gradio, told to ask nothing of other machines.

    Raises:
        UserError: when it is not installed.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            f"the page needs the package gradio ({error})", "pip install -c constraints.txt -e '.[demo]'"
        ) from error
    return gradio


def answer_of(predictor: Predictor, item: Item, words: str) -> Answer:
    """Answers an item, by the answers that were typed or, without these, by the model's own."""
    try:
        (answer,) = (predictor.asked(typed_answers(words)) if words.strip() else predictor)([item])
        return answer
    except UserError as error:
        return Answer(item.name, problem=str(error))


def page(predictor: Predictor, title: str):
    """Returns the page as Gradio's `Blocks`, with places for what the model takes."""
    gradio = library()

    def told(item: Item, words: str) -> list:
        answer = answer_of(predictor, item, words)
        shares = {cut(printable(name), 60): share for name, share in answer.probabilities.items()}
        picture = None if item.is_text or answer.problem else _pixels(item.content)
        return [
            gradio.update(value=answer.problem, visible=bool(answer.problem)),
            gradio.update(value=picture, visible=picture is not None),
            gradio.update(value=printable(answer.read), visible=bool(answer.read)),
            shares or None,
        ]

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        gradio.Markdown(f"# {title}")
        with gradio.Row():
            with gradio.Column():
                answers = gradio.Textbox(
                    label="The answers to choose from, with commas; none for the model's own",
                    max_length=LONGEST,
                    visible=predictor.can_be_asked,
                    elem_id="answers",
                )
                file = gradio.File(label="A picture", type="binary", visible=predictor.takes_pictures)
                with gradio.Group(visible=predictor.takes_texts or predictor.can_be_asked):
                    text = gradio.Textbox(label="A text", lines=3, max_length=LONGEST, elem_id="text")
                    ask = gradio.Button("Answer", elem_id="ask")
            with gradio.Column():
                problem = gradio.Textbox(label="No answer", visible=False, elem_id="problem")
                picture = gradio.Image(label="The picture", visible=False, height=200, buttons=[])
                read = gradio.Textbox(label="What was read", visible=False, elem_id="read")
                answer = gradio.Label(label="The answer", num_top_classes=SHOWN, elem_id="answer")
        outputs = [problem, picture, read, answer]
        file.upload(
            lambda content, words: told(Item("picture", content, False), words), [file, answers], outputs
        )
        answers.submit(
            lambda content, words: told(Item("picture", content or b"", False), words),
            [file, answers],
            outputs,
        )
        for event in (text.submit, ask.click):
            event(
                lambda content, words: told(Item("text", content.encode(), True), words),
                [text, answers],
                outputs,
            )
    return blocks


def _pixels(encoded: bytes):
    from xmodal.report.figures import thumbnail

    return thumbnail(encoded, SIDE)


def _free_port(host: str, port: int) -> int:
    try:
        with socket.create_server((host, port)) as server:
            return server.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host={host} --port={port} cannot be listened at ({error})", "choose others, such as --port=0"
        ) from error


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.demo", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of an export")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default %(default)s")
    parser.add_argument("--port", type=int, default=7860, help="default %(default)s; 0 takes any free one")
    options = parser.parse_args(arguments)
    gradio, port = library(), _free_port(options.host, options.port)
    start_tensorflow("3")
    predictor = Predictor(options.model)
    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        blocks = page(predictor, printable(str(options.model)))
        _, url, _ = blocks.launch(
            server_name=options.host,
            server_port=port,
            # Its own fonts come from another machine.
            theme=gradio.themes.Default(font=FONTS, font_mono=FIXED_FONTS),
            max_file_size=f"{UPLOAD_MB}mb",
            share=False,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"{url} answers with {options.model}; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

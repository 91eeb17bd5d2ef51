"""A page to try an exported model: drop a picture or type a text, see what was read of it and the answer.

    python -m xmodal.demo --model=saved_models/vgg_to_bert

The page is for this machine alone, until --host says otherwise. It asks nothing of any other.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from xmodal.command import Parser, exit_code
from xmodal.errors import UserError
from xmodal.predict import Answer, Item, Predictor
from xmodal.report.wording import cut, printable

UPLOAD_MB = 20
# Probabilities shown, and characters of a text that are taken.
SHOWN, LETTERS = 10, 20_000
FONTS = ("system-ui", "sans-serif")


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 the user can mend it, 130 interrupted."""
    return exit_code(_run, argv)


def page(predictor: Predictor, title: str):
    """Returns the page as Gradio's `Blocks`, with places for what the model takes: pictures, texts or both."""
    gradio = library()
    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        gradio.Markdown(f"# {title}")
        with gradio.Row():
            with gradio.Column():
                picture = gradio.File(label="A picture", type="binary", visible=predictor.takes_pictures)
                text = gradio.Textbox(
                    label="A text", lines=4, max_length=LETTERS, visible=predictor.takes_texts
                )
                ask = gradio.Button("Answer the text", variant="primary", visible=predictor.takes_texts)
            with gradio.Column():
                problem = gradio.Textbox(label="No answer", visible=False, elem_id="problem")
                seen = gradio.Image(label="The picture", visible=False, height=200, buttons=[])
                read = gradio.Textbox(label="What was read", visible=False, elem_id="read")
                answer = gradio.Label(label="The answer", num_top_classes=SHOWN, elem_id="answer")

        def told(item: Item) -> list:
            (found,) = predictor([item])
            shown = None if item.is_text or found.problem else _pixels(item)
            return [
                gradio.update(value=found.problem, visible=bool(found.problem)),
                gradio.update(value=shown, visible=shown is not None),
                gradio.update(value=printable(found.read), visible=bool(found.read)),
                _shares(found),
            ]

        outputs = [problem, seen, read, answer]
        options = {"show_progress": "minimal", "api_visibility": "private"}
        # Not when the picture is taken away.
        picture.upload(lambda content: told(Item("picture", content, False)), picture, outputs, **options)
        for event in (text.submit, ask.click):
            event(lambda words: told(Item("text", words.encode(), True)), text, outputs, **options)
    return blocks


def library() -> ModuleType:
    """Returns Gradio, told to ask nothing of other machines.

    Raises:
        UserError: when it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            f"the page needs the package gradio ({error})", "pip install -c constraints.txt -e '.[demo]'"
        ) from error
    return gradio


def _pixels(item: Item):
    from xmodal.report.figures import thumbnail

    return thumbnail(item.content, 512)


def _shares(answer: Answer) -> dict[str, float] | None:
    """What Gradio's `Label` shows; nothing without an answer."""
    return {cut(printable(name), 60): share for name, share in answer.probabilities.items()} or None


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.demo", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of an export")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; default %(default)s")
    parser.add_argument("--port", type=int, default=7860, help="port to listen at; default %(default)s")
    options = parser.parse_args(arguments)
    gradio = library()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    predictor = Predictor(options.model)
    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        blocks = page(predictor, str(options.model))
        try:
            _, url, _ = blocks.launch(
                server_name=options.host,
                server_port=options.port,
                theme=gradio.themes.Default(font=FONTS, font_mono=("monospace",)),
                max_file_size=f"{UPLOAD_MB}mb",
                share=False,
                ssr_mode=False,
                footer_links=[],
                run_history=False,
                show_error=True,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:
            raise UserError(
                f"--port={options.port} at --host={options.host} cannot be used", "choose another one"
            ) from error
        print(f"{url} shows {options.model}; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        finally:
            blocks.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""A page to try an exported model: drop a picture, speak or type a text, see what was read and the answer.

    python -m xmodal.demo --model=saved_models/vgg_to_bert

Only this machine sees the page, until --host says otherwise, and neither asks anything of another machine.
"""

import ipaddress
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from xmodal.bridge.class_names import readable, with_article
from xmodal.core.command import Parser, exit_code
from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.formatting import printable, truncate
from xmodal.data.table_format import TableFormat
from xmodal.data.target_map import parse_answers
from xmodal.export.asked_files import item_of_file
from xmodal.export.predictor import Answer, Item, Predictor

UPLOAD_MB = 20
# Of a text that is typed, in letters.
MAX_CHARACTERS = 20_000
# Probabilities that are shown, columns of them in the table, and the longer side of the picture in pixels.
SHOWN, COLUMNS, SIDE = 10, 20, 512
FONTS, FIXED_FONTS = ("system-ui", "sans-serif"), ("monospace",)


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 2 a mistake of the user, 130 ended by Ctrl-C."""
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


def answers_of(predictor: Predictor, items: Sequence[Item], words: str) -> list[Answer]:
    """Answers items, by the answers that were typed or, without these, by the model's own."""
    try:
        return list((predictor.with_answers(parse_answers(words)) if words.strip() else predictor)(items))
    except UserError as error:
        return [Answer(item.name, problem=str(error)) for item in items]


def reasons(predictor: Predictor, files: Sequence[str], typed: str, words: str) -> str:
    """Returns what made the answer to one file, or to a text, as markup, or why there is none."""
    from xmodal.export.why import why
    from xmodal.report.explanations import explanation
    from xmodal.report.markup import text

    if max(len(typed), len(words)) > MAX_CHARACTERS:
        return text(f"longer than {MAX_CHARACTERS:,} letters")
    (item,) = items_of(predictor, files, typed)
    try:
        asked_predictor = predictor.with_answers(parse_answers(words)) if words.strip() else predictor
        (answer,) = asked_predictor([item])
    except UserError as error:
        return text(str(error))
    return text(answer.problem) if answer.problem else explanation(why(asked_predictor, item, answer))


def items_of(predictor: Predictor, files: Sequence[str], text: str) -> list[Item]:
    """Makes pictures of files, with the text beside each if the model takes pairs; without files, a text."""
    content = text.encode(errors="surrogatepass")
    if not files:
        return [Item("text", content, True)]
    pair_text = content if predictor.takes_pairs and text.strip() else None
    pictures = (item_of_file(Path(file), TableFormat("utf-8", None, "text", "", "")) for file in files)
    return [replace(item, name=Path(item.name).name, is_text=False, text=pair_text) for item in pictures]


def page(predictor: Predictor, title: str):
    """Returns the page as Gradio's `Blocks`, with places for what the model takes."""
    gradio = library()
    show = partial(_box_updates, gradio)

    def answer_files(files: list[str] | None, text: str | None, answers: str | None) -> list:
        # The page keeps to the limit, and others may ask too.
        if any(words and len(words) > MAX_CHARACTERS for words in (text, answers)):
            return show([Answer("text", problem=f"longer than {MAX_CHARACTERS:,} letters")], None)
        items = items_of(predictor, files or (), text or "")
        shown_answers = answers_of(predictor, items, answers or "")
        single = len(items) == 1 and items[0].content and not (items[0].is_text or shown_answers[0].problem)
        return show(shown_answers, _pixels(predictor.medium.picture(items[0].content)) if single else None)

    def answer_recording(recording: str | None, text: str | None, answers: str | None) -> list:
        return answer_files([recording] if recording else None, text, answers)

    def answer_text(files: list[str] | None, text: str | None, answers: str | None) -> list:
        return answer_files(files if predictor.takes_pairs else None, text, answers)

    def explain(files: list[str] | None, text: str | None, answers: str | None):
        """Tells what made the answer, of one picture, sound, text or pair."""
        explanation = reasons(predictor, (files or ())[:1], text or "", answers or "")
        return gradio.update(value=explanation, visible=True)

    def answer_words(words: str | None, answers: str | None) -> list:
        """Answers what was read, in other words, and leaves the picture and the words where they are."""
        if any(entry and len(entry) > MAX_CHARACTERS for entry in (words, answers)):
            shown_answers = [Answer("words", problem=f"longer than {MAX_CHARACTERS:,} letters")]
        else:
            item = Item("words", (words or "").encode(errors="surrogatepass"), True)
            shown_answers = answers_of(predictor, [item], answers or "")
        problem, _, _, *others = show(shown_answers, None)
        return [problem, *others]

    with gradio.Blocks(title=title, analytics_enabled=False, delete_cache=(60, 600)) as blocks:
        gradio.Markdown(f"# {title}")
        with gradio.Row():
            with gradio.Column():
                files, recording, text, answers, ask, why = _inputs(gradio, predictor)
            with gradio.Column():
                outputs = _outputs(gradio, predictor)
        outputs.append(
            gradio.Dataframe(label="All answers", visible=False, interactive=False, elem_id="table")
        )
        reason = gradio.HTML(visible=False, elem_id="reason")
        gradio.Markdown(signatures_line(predictor.signatures))
        _take_uploads_alone(files)
        _take_uploads_alone(recording)
        inputs = [files, text, answers]
        files.upload(answer_files, inputs, outputs, api_name="answer_files")
        recording_inputs = [recording, text, answers]
        recording.stop_recording(answer_recording, recording_inputs, outputs, api_name="answer_recording")
        answers.submit(answer_files, inputs, outputs, api_name=False)
        text.submit(answer_text, inputs, outputs, api_name=False)
        why.click(explain, inputs, [reason], api_name="explain")
        problem, _, read_box, *others = outputs
        read_box.submit(answer_words, [read_box, answers], [problem, *others], api_name="answer_words")
        ask.click(answer_text, inputs, outputs, api_name="answer_text")
    return blocks


def _box_updates(gradio: ModuleType, shown_answers: list[Answer], picture: Any) -> list:
    """Returns what an answer, or several, change of the boxes that `_outputs` added."""
    answer = shown_answers[0] if len(shown_answers) == 1 else Answer("")
    shares = {truncate(printable(name), 60): share for name, share in answer.probabilities.items()}
    return [
        gradio.update(value=answer.problem, visible=bool(answer.problem)),
        gradio.update(value=picture, visible=picture is not None),
        gradio.update(value=printable(answer.read), visible=bool(answer.read)),
        gradio.update(value=verdict_line(answer), visible=bool(answer.verdict)),
        gradio.update(value=shares or None, visible=len(shown_answers) == 1),
        gradio.update(value=table_of(shown_answers), visible=not answer.problem),
    ]


def _inputs(gradio: ModuleType, predictor: Predictor) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Adds the boxes for files, a recording, a text and answers, and the buttons."""
    kind = f"{predictor.medium.noun}s"
    answers = gradio.Textbox(
        label="The answers to choose from, with commas; none for the model's own",
        max_length=MAX_CHARACTERS,
        visible=predictor.can_be_asked,
        elem_id="answers",
    )
    files = gradio.File(
        label=f"{kind.capitalize()}, one or several",
        file_count="multiple",
        type="filepath",
        visible=predictor.takes_pictures,
    )
    # Browsers let a page of this machine, or one by https, listen.
    recording = gradio.Audio(
        label="Or speak",
        sources=["microphone"],
        type="filepath",
        visible=predictor.medium.noun == "sound",
        elem_id="recording",
    )
    pair_note = f", alone or together with the {kind}" if predictor.takes_pairs else ""
    with gradio.Group(visible=predictor.takes_texts or predictor.can_be_asked):
        text = gradio.Textbox(label=f"A text{pair_note}", lines=3, max_length=MAX_CHARACTERS, elem_id="text")
        ask = gradio.Button("Answer", elem_id="ask")
    why = gradio.Button("Why?", elem_id="why")
    if predictor.takes_pictures and predictor.takes_texts:
        sentences = (f"a photo of {with_article(readable(name))}" for name in predictor.labels[:3])
        gradio.Examples([[sentence] for sentence in sentences], [text], label="Texts to try")
    return files, recording, text, answers, ask, why


def _outputs(gradio: ModuleType, predictor: Predictor) -> list[Any]:
    """Adds what shows one answer: problem, picture, what was read of it, what is promised, label."""
    is_editable = predictor.takes_texts or predictor.can_be_asked
    return [
        gradio.Textbox(label="No answer", visible=False, elem_id="problem"),
        gradio.Image(label="The picture", visible=False, height=200, buttons=[]),
        gradio.Textbox(
            label="What was read" + (": strike or change words, and press Enter" if is_editable else ""),
            visible=False,
            interactive=is_editable,
            max_length=MAX_CHARACTERS,
            elem_id="read",
        ),
        gradio.Textbox(label="What can be promised", visible=False, elem_id="verdict"),
        gradio.Label(label="The answer", num_top_classes=SHOWN, elem_id="answer"),
    ]


def verdict_line(answer: Answer) -> str:
    """Returns what is promised of an answer, in words and with how strange the input is; "" for nothing."""
    if answer.unknown is None:
        return printable(answer.verdict)
    return f"{printable(answer.verdict)} (stranger than {answer.unknown:.0%} of what it knows)"


def table_of(answers: Sequence[Answer]) -> dict[str, list]:
    """Returns the rows of a table: an item each, its answer, and the probabilities of the first classes."""
    names = list(dict.fromkeys(name for answer in answers for name in answer.probabilities))[:COLUMNS]
    rows = [
        [
            printable(answer.item),
            printable(answer.verdict or answer.label or answer.problem),
            *(f"{answer.probabilities[name]:.1%}" if name in answer.probabilities else "" for name in names),
        ]
        for answer in answers
    ]
    return {"headers": ["item", "answer", *(truncate(printable(name), 30) for name in names)], "data": rows}


def signatures_line(signatures: Mapping[str, Sequence[str]]) -> str:
    """Returns what the export's signatures take, as Markdown."""
    return "Signatures of the export: " + "; ".join(
        f"`{name}`" + (f" takes `{'`, `'.join(inputs)}`" if inputs else " takes nothing")
        for name, inputs in sorted(signatures.items())
    )


class OwnHosts:
    """Answers requests that name this machine alone, whatever name leads here (DNS rebinding).

    A name that somebody else's page was loaded from may be made to lead here, and an address may not.

    Args:
        app: what answers them (ASGI).
        names: of this machine.
    """

    def __init__(self, app: Callable, names: Collection[str]):
        self._app, self._names = app, {name.lower() for name in names}

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Passes a request on, or refuses it."""
        hosts = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"]
        if scope["type"] == "lifespan" or (len(hosts) == 1 and self._is_own(hosts[0])):
            await self._app(scope, receive, send)
        else:
            from starlette.responses import PlainTextResponse

            await PlainTextResponse("no name of this machine", 400)(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self._names
        return True


def _take_uploads_alone(file: Any) -> None:
    """Keeps a box for files from fetching the address that a request may have in the place of a file."""
    move = file.async_move_resource_to_block_cache

    async def move_uploaded(path: str | Path | None) -> str | None:
        if "://" in str(path):
            raise library().Error("Upload the file: no address is fetched.")
        return await move(path)

    file.async_move_resource_to_block_cache = move_uploaded


def _pixels(encoded: bytes):
    from xmodal.report.figures import thumbnail

    return thumbnail(encoded, SIDE)


def _names(host: str) -> set[str]:
    return {host, "localhost", socket.gethostname(), socket.getfqdn()}


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
    predictor = Predictor(options.model)
    with tempfile.TemporaryDirectory() as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        blocks = page(predictor, printable(str(options.model)))
        _, url, _ = blocks.launch(
            server_name=options.host,
            server_port=port,
            app_kwargs={"middleware": [(OwnHosts, (), {"names": _names(options.host)})]},
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
        log(f"{url} answers with {options.model}; Ctrl-C ends it")
        try:
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

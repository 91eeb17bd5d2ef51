"""How `text_to_image` is exported and checked."""

from shlex import quote

from xmodal.data.images import ImageSplit
from xmodal.export.painter import ServedGenerator, save_generator
from xmodal.export.picture_index import ENCODERS, PictureIndex, ServedSpace, save_index
from xmodal.export.saved_model import form_folder, publish
from xmodal.export.verification import Question, differences
from xmodal.recipes.text_to_image.stages import sampling_of
from xmodal.recipes.text_to_image.tables import Told
from xmodal.runs.session import ASK, Job

CHECKED = 16


def export_checked(
    job: Job, space: ServedSpace, index: PictureIndex, test: ImageSplit, told: Told, generator
) -> dict[str, float | int | str]:
    """Saves the index and the generator, and compares the encoders of the index in a fresh process."""
    config = job.config
    folder = config.run.saved_models_dir / config.run.experiment
    some = slice(CHECKED)
    texts = {"text": [text.encode() for text in told.captions.texts[some]]}
    images = {"image_bytes": [test.encoded(place) for place in range(len(test))[some]]}
    questions = [
        Question(texts, told.places[some], "embed_text", "embedding"),
        Question(images, index.vectors[some], "embed_image", "embedding"),
    ]
    exported, facts = publish(
        folder,
        lambda place: save_index(place, index, space),
        lambda place: differences(place / ENCODERS, questions),
        job.checkpoints.stage("export"),
        form="index",
    )
    facts |= {
        "export": str(exported),
        ASK: f"python -m xmodal.search --index={quote(str(exported))} 'WORDS'",
    }
    if generator is not None:
        # A number belongs to one run: what stands there is this run's.
        beside = form_folder(folder / exported.name, "generator")
        if not beside.exists():
            save_generator(beside, ServedGenerator(space.texts, generator, sampling_of(config)))
        facts["generator"] = str(beside)
    return facts

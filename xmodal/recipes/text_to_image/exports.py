"""How `text_to_image` is exported and checked."""

from shlex import quote

import keras
import numpy as np

from xmodal.data.images import ImageData
from xmodal.export.generator import ServedGenerator, save_generator
from xmodal.export.picture_index import ENCODERS, PictureIndex, ServedSpace, save_index, thumbnails
from xmodal.export.saved_model import form_folder, publish
from xmodal.export.verification import Question, differences
from xmodal.recipes.text_to_image.stages import sampling_of
from xmodal.recipes.text_to_image.tables import EmbeddedCaptions
from xmodal.runs.session import ASK, Session

CHECKED = 16


def export_checked(
    session: Session,
    space: ServedSpace,
    vectors: np.ndarray,
    data: ImageData,
    embedded: EmbeddedCaptions,
    generator: keras.Model | None,
) -> dict[str, float | int | str]:
    """Saves the index and the generator, and compares the encoders of the index in a fresh process."""
    config, test = session.config, data.test
    pictures = thumbnails(test, config.data.image_size)
    index = PictureIndex(vectors, test.labels, pictures, test.ids, data.class_names)
    folder = session.export_folder
    sample = slice(CHECKED)
    texts = {"text": [text.encode() for text in embedded.captions.texts[sample]]}
    images = {"image_bytes": [test.encoded(index) for index in range(len(test))[sample]]}
    questions = [
        Question(texts, embedded.embeddings[sample], "embed_text", "embedding"),
        Question(images, index.vectors[sample], "embed_image", "embedding"),
    ]
    export_path, facts = publish(
        folder,
        lambda path: save_index(path, index, space),
        lambda path: differences(path / ENCODERS, questions),
        session.checkpoints.stage("export"),
        form="index",
    )
    facts |= {
        "export": str(export_path),
        ASK: f"python -m xmodal.search --index={quote(str(export_path))} 'WORDS'",
    }
    if generator is not None:
        # A number belongs to one run: what stands there is this run's.
        generator_folder = form_folder(folder / export_path.name, "generator")
        if not generator_folder.exists():
            save_generator(generator_folder, ServedGenerator(space.texts, generator, sampling_of(config)))
        facts["generator"] = str(generator_folder)
    return facts

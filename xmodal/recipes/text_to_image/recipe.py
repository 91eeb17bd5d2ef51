"""Text -> image: pictures found by words and drawn from words, measured by who did not draw them.

Images and texts meet in one space, in which a text finds images and an image finds texts. From a text's
place in that space a rectified flow draws pictures. A classifier that was trained on real images alone
says what they show.
"""

from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.data.images import ImageData
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.export.picture_index import ServedSpace, ServedTexts
from xmodal.recipes.text_reading import report_reading
from xmodal.recipes.text_to_image.exports import export_checked
from xmodal.recipes.text_to_image.stages import (
    answers_by_text,
    answers_through_text,
    build_generator,
    captions_of,
    embed_captions,
    evaluator_answers,
    features_of,
    generate_set,
    ready_generator,
    space_of,
    train_evaluator,
)
from xmodal.recipes.text_to_image.tables import (
    GeneratedImages,
    build_report,
    distance_table,
    facts_of_generator,
)
from xmodal.runs.inputs import build_backbone, load_configured_images
from xmodal.runs.session import Session, begin, finish
from xmodal.tasks.image_classifier import ImageClassifier
from xmodal.tasks.shared_space import project

NOTES = {
    "judge": "a classifier of images, trained on real ones alone: it reads what is drawn",
    "image_to_text": "image to text to label: the classifier's sentence, read by BERT in the shared space",
    "image_by_text": "image to label: the nearest wordings in the shared space",
    "text_to_image": "text to image to label: what the judge sees in pictures drawn from learned wordings",
    "text_to_image_unseen": "the same, drawn from wordings that nothing was trained on",
}


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    session = begin(config, clock)
    with clock.stage("data"):
        data = load_configured_images(config)
        encoder, captions = captions_of(session, data)
        reading = report_reading(session, encoder, captions["learned"][0].texts)
        generator = ready_generator(config)
    session.check_data(data.report)
    with clock.stage("features"):
        backbone = build_backbone(config, config.image.base, config.image.image_weights, session.trainer)
        features = features_of(session, backbone, data)
    with clock.stage("judge"):
        evaluator, logits = train_evaluator(session, data)
        temperature = fit_temperature(logits.validation, data.validation.labels)
    with clock.stage("shared space"):
        space = space_of(session, data, features, captions["learned"])
        embedded = {name: embed_captions(session, space, *part) for name, part in captions.items()}
        images = project(space.image_head, features["test"], session.trainer)
    with clock.stage("generator"):
        generate, generator, history = build_generator(
            session, data, encoder, space, embedded["learned"], generator
        )
    with clock.stage("drawing"):
        pictures = {
            name: generate_set(session, generate, part, data, name) for name, part in embedded.items()
        }
    with clock.stage("evaluation"):
        probabilities = {
            "judge": softmax(logits.test, temperature),
            "image_to_text": answers_through_text(
                session, logits.test / temperature, encoder, space, embedded["learned"], data
            ),
            "image_by_text": answers_by_text(images, space, embedded["learned"], data),
            **ask_judge(session, evaluator, pictures, temperature),
        }
        results = evaluate_ways(probabilities, pictures, data)
        distances = distance_table(session, backbone, features["test"], pictures)
    run = build_report(session, data, space, embedded, images, pictures, probabilities, results)
    run = replace(
        run,
        histories=(*evaluator.histories, space.history, *([history] if history else [])),
        facts=run.facts | reading | facts_of_generator(generator),
        tables=(*run.tables, distances),
    )
    texts, data_config = ServedTexts(encoder, space), config.data
    served = ServedSpace(texts, backbone, space, data_config.image_size, data_config.max_pixels)
    return finish(
        session, run, lambda: export_checked(session, served, images, data, embedded["unseen"], generator)
    )


def ask_judge(
    session: Session, evaluator: ImageClassifier, pictures: dict[str, GeneratedImages], temperature: float
) -> dict[str, np.ndarray]:
    """Asks the judge what it sees in the pictures that were drawn."""
    captions_by_way = {"text_to_image": "learned", "text_to_image_unseen": "unseen"}
    return {
        way: evaluator_answers(session, evaluator, pictures[name], temperature, name)
        for way, name in captions_by_way.items()
    }


def evaluate_ways(
    probabilities: dict[str, np.ndarray], pictures: dict[str, GeneratedImages], data: ImageData
) -> dict[str, Result]:
    """Evaluates what each way of `NOTES` answers: for test images, and for pictures that were drawn."""
    truth = dict.fromkeys(NOTES, data.test.labels)
    truth |= {
        "text_to_image": pictures["learned"].labels,
        "text_to_image_unseen": pictures["unseen"].labels,
    }
    return {
        name: evaluate(name, answers, truth[name], data.class_names, note=NOTES[name])
        for name, answers in probabilities.items()
    }

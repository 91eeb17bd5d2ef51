"""Text -> image: pictures found by words and drawn from words, measured by who did not draw them.

Images and texts meet in one space, in which a text finds images and an image finds texts. From a text's
place in that space a rectified flow draws pictures. A classifier that was trained on real images alone
says what they show.
"""

from xmodal import report
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import evaluate
from xmodal.export.picture_index import PictureIndex, ServedSpace, ServedTexts, thumbnails
from xmodal.recipes.text_to_image.exports import export_checked
from xmodal.recipes.text_to_image.stages import (
    answers_by_text,
    answers_of_judge,
    answers_through_text,
    captions_of,
    draw,
    features_of,
    judge_of,
    painter_of,
    space_of,
    told_of,
)
from xmodal.recipes.text_to_image.tables import (
    directions_table,
    distance_table,
    facts_of,
    gallery_items,
    retrieval_table,
    wordings_table,
)
from xmodal.runs.inputs import build_trunk, configured_images
from xmodal.runs.session import begin, finish
from xmodal.tasks.shared_space import projected

TITLE = "Text to image: found and drawn"
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
    job = begin(config, clock)
    with clock.stage("data"):
        data = configured_images(config)
        encoder, learned, unseen = captions_of(job, data)
    job.check_data(data.report)
    with clock.stage("features"):
        trunk = build_trunk(config, config.image.base, config.image.image_weights, job.strategy)
        features = features_of(job, trunk, data)
    with clock.stage("judge"):
        judge, logits = judge_of(job, data)
        temperature = fit_temperature(judge.validation_logits, data.validation.labels)
    with clock.stage("shared space"):
        space = space_of(job, data, features, learned)
        told = {name: told_of(job, space, *part) for name, part in (("learned", learned), ("unseen", unseen))}
        images = projected(space.image_head, features["test"], job.strategy)
    with clock.stage("generator"):
        paint, generator, history = painter_of(job, data, encoder, space, told["learned"])
    with clock.stage("drawing"):
        pictures = {name: draw(job, paint, part, data, name) for name, part in told.items()}
    with clock.stage("evaluation"):
        probabilities = {
            "judge": softmax(logits, temperature),
            "image_to_text": answers_through_text(
                job, logits / temperature, encoder, space, told["learned"], data
            ),
            "image_by_text": answers_by_text(images, space, told["learned"], data),
            "text_to_image": answers_of_judge(job, judge, pictures["learned"], temperature, "learned"),
            "text_to_image_unseen": answers_of_judge(job, judge, pictures["unseen"], temperature, "unseen"),
        }
        truth = dict.fromkeys(NOTES, data.test.labels)
        truth |= {
            "text_to_image": pictures["learned"].labels,
            "text_to_image_unseen": pictures["unseen"].labels,
        }
        results = {
            name: evaluate(name, answers, truth[name], data.class_names, note=NOTES[name])
            for name, answers in probabilities.items()
        }
        distances = distance_table(job, trunk, features["test"], pictures)
    run = report.Run(
        **job.told(),
        title=TITLE,
        data=data.report,
        results=results,
        gains=(),
        transfer=None,
        histories=(*judge.histories, space.history, *([history] if history else [])),
        gallery=gallery_items(config, pictures["unseen"], probabilities["text_to_image_unseen"], data),
        facts=facts_of(space, told, generator, images),
        headline="text_to_image_unseen",
        tables=(
            directions_table(results),
            retrieval_table(images, data.test.labels, told),
            wordings_table(pictures["unseen"], probabilities["text_to_image_unseen"]),
            distances,
        ),
    )

    def exported() -> dict[str, float | int | str]:
        index = PictureIndex(
            images,
            data.test.labels,
            thumbnails(data.test, config.data.image_size),
            data.test.ids,
            data.class_names,
        )
        served = ServedSpace(ServedTexts(encoder, space), trunk, space, config.data.image_size)
        return export_checked(job, served, index, data.test, told["unseen"], generator)

    return finish(job, run, exported)

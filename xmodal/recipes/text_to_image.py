"""Text -> image: pictures found by words and drawn from words, measured by who did not draw them.

Images and texts meet in one space, in which a text finds images and an image finds texts. From a text's
place in that space a rectified flow draws pictures. A classifier that was trained on real images alone
says what they show.
"""

from collections.abc import Callable
from shlex import quote

import keras
import numpy as np
import tensorflow as tf

from xmodal import assets, export, report, train
from xmodal.backbones import TextEncoder, text_encoder
from xmodal.bridge import Bridge, fit_temperature, softmax
from xmodal.captions import Captions, drawn_captions, with_descriptions, written_captions
from xmodal.checkpoint import Checkpoints, State
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.images import ImageData, ImageSplit, configured_images
from xmodal.data.splits import SPLITS
from xmodal.data.texts import read_descriptions
from xmodal.evaluate import evaluate, gallery_indices
from xmodal.export_check import Question, differences
from xmodal.features import feature_cache
from xmodal.frechet import frechet_distance
from xmodal.generate import Sampling, drawn, mover, noise_for, train_generator
from xmodal.image_classifier import (
    ImageClassifier,
    build_trunk,
    pixels,
    train_image_classifier,
    trunk_features,
)
from xmodal.job import ASK, Job, begin, finish
from xmodal.painter import PRESET, Painter, ServedGenerator, preset_painter, save_generator
from xmodal.picture_index import (
    ENCODERS,
    PictureIndex,
    ServedSpace,
    ServedTexts,
    save_index,
    search_milliseconds,
    thumbnails,
)
from xmodal.progress import newest
from xmodal.retrieval import (
    SharedSpace,
    class_scores,
    projected,
    sentence_vectors,
    train_shared_space,
)
from xmodal.strategy import workers
from xmodal.wordings import Drawn, Told, directions_table, retrieval_table, wordings_table

TITLE = "Text to image: found and drawn"
GALLERY_EACH = 12
# What a search is timed on.
TIMED_PICTURES = 50_000
CHECKED = 16

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
    job.warn(data.report)
    with clock.stage("features"):
        trunk = build_trunk(config, config.image.base, config.image.image_weights, job.strategy)
        features = features_of(job, trunk, data)
    with clock.stage("judge"):
        judge, logits = judge_of(job, data)
        temperature = fit_temperature(judge.validation_logits, data.validation.labels)
    with clock.stage("shared space"):
        space = space_of(job, data, features, learned)
        told = {name: _told(job, space, *part) for name, part in (("learned", learned), ("unseen", unseen))}
        images = projected(space.image_head, features["test"], job.strategy)
    with clock.stage("generator"):
        paint, generator, history = painter_of(job, data, encoder, space, told["learned"])
    with clock.stage("drawing"):
        pictures = {name: draw(job, paint, part, data, name) for name, part in told.items()}
    with clock.stage("evaluation"):
        probabilities = {
            "judge": softmax(logits, temperature),
            "image_to_text": _through_text(job, logits / temperature, encoder, space, told["learned"], data),
            "image_by_text": _by_text(images, space, told["learned"], data),
            "text_to_image": _seen(job, judge, pictures["learned"], temperature, "learned"),
            "text_to_image_unseen": _seen(job, judge, pictures["unseen"], temperature, "unseen"),
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
        distances = _distances(job, trunk, features["test"], pictures)
    run = report.Run(
        **job.told(),
        title=TITLE,
        data=data.report,
        results=results,
        gains=(),
        transfer=None,
        histories=(*judge.histories, space.history, *([history] if history else [])),
        gallery=_gallery(config, pictures["unseen"], probabilities["text_to_image_unseen"], data),
        facts=_facts(space, told, generator, images),
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
        return _export(job, served, index, data.test, told["unseen"], generator)

    return finish(job, run, exported)


def captions_of(job: Job, data: ImageData) -> tuple[TextEncoder, tuple, tuple]:
    """Writes what is said of the classes, and encodes it.

    Returns:
        BERT; learned captions and their vectors (M, D); unseen ones and theirs.
    """
    config = job.config
    learned, unseen = written_captions(data.class_names)
    if config.scorer.class_descriptions:
        learned = with_descriptions(
            learned, *read_descriptions(config.scorer.class_descriptions, data.class_names)
        )
    preset = assets.text_encoder_path(
        config.text.text_encoder, cache=cache_folder(), offline=config.run.offline
    )
    with job.strategy.scope():
        encoder = text_encoder(preset, config.text.sequence_length)
    vectors = [sentence_vectors(encoder, part.texts, job.strategy) for part in (learned, unseen)]
    return encoder, (learned, vectors[0]), (unseen, vectors[1])


def features_of(job: Job, trunk: keras.Model, data: ImageData) -> dict[str, np.ndarray]:
    """Returns what the trunk sees in the images of each split (N, D)."""
    config = job.config
    cache = feature_cache(config, workers(job.strategy).is_chief, job.clock.say)
    return {
        name: np.asarray(
            trunk_features(
                trunk,
                getattr(data, name),
                data_config=config.data,
                config=config.image,
                seed=config.run.seed,
                strategy=job.strategy,
                stage=f"features: {name}",
                checkpoints=job.checkpoints,
                cache=cache,
            )
        )
        for name in SPLITS
    }


def judge_of(job: Job, data: ImageData) -> tuple[ImageClassifier, np.ndarray]:
    """Trains the classifier that reads what is drawn, on real images, and asks it about the test images."""
    config = job.config
    judge = train_image_classifier(
        build_trunk(config, config.image.base, config.image.image_weights, job.strategy),
        data,
        data_config=config.data,
        config=config.image,
        trainable=config.image.trainable,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="judge",
        checkpoints=job.checkpoints,
        cache=feature_cache(config, workers(job.strategy).is_chief, job.clock.say),
        training=config.train,
    )
    images = pixels(data.test, config.data.image_size, 4 * config.image.batch_size)
    return judge, train.predict(
        judge.model, images, job.strategy, stage="judge: test", checkpoints=job.checkpoints
    )


def space_of(job: Job, data: ImageData, features: dict[str, np.ndarray], learned: tuple) -> SharedSpace:
    """Trains the space that images and texts share."""
    config = job.config
    captions, vectors = learned
    return train_shared_space(
        features["train"],
        data.train.labels,
        vectors,
        captions,
        held_out=(features["validation"], data.validation.labels),
        classes=len(data.class_names),
        width=config.generator.space_width,
        scale=config.text.similarity_scale,
        config=config.image,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="shared space",
        checkpoints=job.checkpoints,
        training=config.train,
    )


def painter_of(
    job: Job, data: ImageData, encoder: TextEncoder, space: SharedSpace, learned: Told
) -> tuple[Painter, keras.Model | None, train.History | None]:
    """Trains what draws, or loads it.

    Returns:
        What draws, and of the flow its network and history.
    """
    config, generator = job.config, job.config.generator
    if generator.image_generator.startswith(PRESET):
        name = generator.image_generator.removeprefix(PRESET)
        paint = preset_painter(
            name,
            steps=generator.sampling_steps,
            guidance=generator.guidance,
            offline=config.run.offline,
        )
        return paint, None, None
    model, history = train_generator(
        data.train,
        learned.places,
        learned.captions,
        classes=len(data.class_names),
        image_size=config.data.image_size,
        config=generator,
        augment=generator.generator_augment,
        seed=config.run.seed,
        strategy=job.strategy,
        stage="generator",
        checkpoints=job.checkpoints,
        training=config.train,
    )
    sampling, shape = sampling_of(config), model.input["image"].shape[1:]
    move = mover(model, sampling.solver)

    def paint_texts(texts, seed: int) -> np.ndarray:
        distinct, place = np.unique(np.asarray(texts, object), return_inverse=True)
        places = projected(space.text_head, sentence_vectors(encoder, distinct, job.strategy), job.strategy)
        return drawn(move, noise_for(len(place), shape, (seed, 0)), places[place], sampling)

    return paint_texts, model, history


def sampling_of(config: Config) -> Sampling:
    """Returns how the flags want pictures drawn."""
    generator = config.generator
    return Sampling(generator.sampling_steps, generator.guidance, generator.solver)


def draw(job: Job, paint: Painter, told: Told, data: ImageData, name: str) -> Drawn:
    """Draws pictures from captions, with the classes as frequent as among the test images."""
    config = job.config
    order = np.random.default_rng(config.run.seed).permutation(len(data.test))[: config.generator.drawn]
    seed = (config.run.seed, len(told.captions))
    captions = drawn_captions(told.captions, data.test.labels[order], len(data.class_names), seed)
    size = config.data.image_size

    def pictures() -> np.ndarray:
        painted = paint(list(told.captions.texts[captions]), config.run.seed)
        if painted.shape[1] == size:
            return painted
        resized = [tf.image.resize(picture, (size, size), antialias=True).numpy() for picture in painted]
        return np.clip(np.round(np.stack(resized)), 0, 255).astype(np.uint8)

    return Drawn(_once(job.checkpoints, f"drawing: {name}", pictures, job.strategy), told.captions, captions)


def _once(checkpoints: Checkpoints, stage: str, compute: Callable[[], np.ndarray], strategy) -> np.ndarray:
    """Returns what is computed, or was by this run before it was interrupted."""
    kept = checkpoints.stage(stage)
    found = newest(kept, strategy)
    if found:
        return found[0].arrays["outputs"]
    computed = compute()
    kept.finish(State({"outputs": computed}, {"stage": stage}))
    return computed


def _told(job: Job, space: SharedSpace, captions: Captions, vectors: np.ndarray) -> Told:
    return Told(captions, vectors, projected(space.text_head, vectors, job.strategy))


def _through_text(job, logits, encoder, space, learned: Told, data: ImageData) -> np.ndarray:
    """Puts the judge's probabilities into sentences, and reads these by the nearest learned captions."""
    text = job.config.text
    bridge = Bridge(data.class_names, text.text_style, text.template, text.top_k)
    # The first wording: one place in the space for each image.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits)))[:, 0].numpy()
    distinct, place = np.unique(np.char.decode(sentences.astype(bytes), "utf-8"), return_inverse=True)
    vectors = sentence_vectors(encoder, distinct.astype(object), job.strategy)
    read = _by_text(projected(space.text_head, vectors, job.strategy), space, learned, data)
    return read[place]


def _by_text(places: np.ndarray, space: SharedSpace, learned: Told, data: ImageData) -> np.ndarray:
    scores = space.scale * places @ learned.places.T
    return class_scores(scores, learned.captions.labels, len(data.class_names))


def _seen(job: Job, judge: ImageClassifier, pictures: Drawn, temperature: float, name: str) -> np.ndarray:
    batches = train.array_batches(pictures.pictures.astype(np.float32), batch_size=256)
    stage = f"judge: pictures of {name} wordings"
    logits = train.predict(judge.model, batches, job.strategy, stage=stage, checkpoints=job.checkpoints)
    return softmax(logits, temperature)


def _distances(job: Job, trunk: keras.Model, test: np.ndarray, pictures: dict[str, Drawn]) -> report.Table:
    """Compares sets of equal size: the distance falls with it."""
    size = min(len(test) // 2, *(len(part.pictures) for part in pictures.values()))
    order = np.random.default_rng(job.config.run.seed).permutation(len(test))
    real, other = test[order[:size]], test[order[size : 2 * size]]
    rows: list[tuple[str, float]] = [("other real test images", frechet_distance(real, other))]
    for name, part in pictures.items():
        batches = train.array_batches(part.pictures[:size].astype(np.float32), batch_size=256)
        drawn_features = train.predict(trunk, batches, job.strategy)
        rows.append((f"drawn from {name} wordings", frechet_distance(real, drawn_features)))
    noise = np.random.default_rng(0).uniform(0, 255, (size, *part.pictures.shape[1:])).astype(np.float32)
    rows.append(
        (
            "noise",
            frechet_distance(
                real, train.predict(trunk, train.array_batches(noise, batch_size=256), job.strategy)
            ),
        )
    )
    caption = f"Frechet distance from {size:,} real test images to as many others, on features of the trunk"
    return report.Table(caption, ("pictures", "distance"), tuple(rows))


def _gallery(config: Config, pictures: Drawn, probabilities: np.ndarray, data: ImageData):
    labels = pictures.labels
    picked = gallery_indices(probabilities, labels, GALLERY_EACH, config.run.seed)
    return tuple(
        report.GalleryItem(
            png=tf.io.encode_png(pictures.pictures[index]).numpy(),
            id=f"drawn/{index}",
            truth=data.class_names[labels[index]],
            predicted=data.class_names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=str(pictures.captions.texts[pictures.order[index]]),
            kind=kind,
        )
        for kind, indices in picked.items()
        for index in indices
    )


def _facts(space, told: dict[str, Told], generator, queries: np.ndarray) -> dict[str, float | int | str]:
    facts: dict[str, float | int | str] = {
        "scale learned by the shared space": space.scale,
        "learned captions": len(told["learned"].captions),
        "unseen captions": len(told["unseen"].captions),
        f"milliseconds to search {TIMED_PICTURES:,} pictures": search_milliseconds(
            queries[:1], TIMED_PICTURES
        ),
    }
    if generator is not None:
        facts["parameters of the generator"] = generator.count_params()
    return facts


def _export(
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
    exported, facts = export.publish(
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
        beside = export.form_folder(folder / exported.name, "generator")
        if not beside.exists():
            save_generator(beside, ServedGenerator(space.texts, generator, sampling_of(config)))
        facts["generator"] = str(beside)
    return facts

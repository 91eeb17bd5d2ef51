"""What much larger jobs would cost, reckoned from the records of smaller ones."""

from rendering.markdown import as_text, grid

IMAGES, NAMES, QUESTIONS, ANSWERS, HOSTS = 10_000_000, 100_000, 1_000, 10, 64
# Numbers of a sentence vector of MiniLM, bytes of a view in the cache, parameters of VGG19 without its top.
WIDTH, VIEW_BYTES, VGG19 = 384, 5_000, 20_024_384
TOP = 100


def scale(growth: dict, serving: dict, engine: dict) -> str:
    """Returns a Markdown table of what larger jobs would cost, with the arithmetic.

    Args:
        growth, serving, engine: the records of these benchmarks.
    """
    seconds = _seconds_an_image(growth)
    texts = serving["text"]["batch"]["first"]
    simulated = growth["images"][str(IMAGES)]
    lost, compute, exchange = exchange_seconds(engine)
    rows = [
        (
            f"features of {IMAGES:,} images, VGG19 at 32 pixels",
            f"{IMAGES:,} x {1000 * seconds:.2f} ms (`growth`, 50,000 images)",
            f"{IMAGES * seconds / 3600:.1f} hours; by {HOSTS} hosts {IMAGES * seconds / HOSTS / 60:.1f} min",
        ),
        (
            "these features in the cache",
            f"{IMAGES:,} x {VIEW_BYTES // 1000} kB a view",
            f"{IMAGES * VIEW_BYTES / 1e9:.0f} GB",
        ),
        (
            f"sentences of {IMAGES:,} images of 10 classes",
            "simulated: logits drawn, put into words",
            f"{simulated['bridge']['seconds']:.0f} s; {simulated['text']['sentences']} are distinct, "
            f"and BERT reads them in {simulated['text']['seconds']:.1f} s",
        ),
        (
            f"vectors of {NAMES:,} class names",
            f"{NAMES:,} x {WIDTH} x 4 bytes, embedded once at {texts:.0f} a second (`serving`)",
            f"{NAMES * WIDTH * 4 / 1e6:.0f} MB, {NAMES / texts / 60:.1f} minutes",
        ),
        (
            "the mixture of their vectors, for an image",
            f"2 x {NAMES:,} x {WIDTH}; of the {TOP} most probable names 2 x {TOP} x {WIDTH}",
            f"{2 * NAMES * WIDTH / 1e6:.0f} MFLOP; {2 * TOP * WIDTH / 1e6:.2f} MFLOP, and a product with a "
            "text moves by no more than the probability of the names left out",
        ),
        (
            f"{QUESTIONS:,} questions of {ANSWERS} answers, asked of one export",
            f"{QUESTIONS * ANSWERS:,} texts at {texts:.0f} a second, once; then 2 x {WIDTH} x "
            f"{QUESTIONS * ANSWERS:,} for an image",
            f"{QUESTIONS * ANSWERS / texts:.0f} s; {2e-6 * WIDTH * QUESTIONS * ANSWERS:.1f} MFLOP an image",
        ),
        (
            f"bytes that each of {HOSTS} hosts sends in a step of all of VGG19",
            f"2 x {HOSTS - 1} / {HOSTS} x 4 bytes x {VGG19:,} (ring all-reduce)",
            f"{sent_bytes(HOSTS) / 1e6:.0f} MB; with two hosts {sent_bytes(2) / 1e6:.0f} MB",
        ),
        (
            f"images a second of {HOSTS} hosts with one core each, to those of one",
            f"{HOSTS} x {compute:.2f} s / ({compute:.2f} s + {exchange:.2f} s), where two hosts lost "
            f"{lost:.2f} s a step (`engine`)",
            f"{HOSTS * compute / (compute + exchange):.0f} times",
        ),
    ]
    return as_text(grid(("what", "arithmetic", "cost"), rows))


def sent_bytes(hosts: int, parameters: int = VGG19) -> float:
    """Returns what a host sends to sum float32 gradients in a ring: 2 (N - 1) / N of their bytes."""
    return 2 * (hosts - 1) / hosts * 4 * parameters


def exchange_seconds(engine: dict) -> tuple[float, float, float]:
    """Returns the seconds of a step that two hosts lose to exchange, that they compute, and `HOSTS` lose.

    Two workers of one thread took turns with one process of two threads at the same batch: what they were
    slower by is the exchange, whose bytes grow as `sent_bytes` says.
    """
    pair, batch = engine["workers"]["images of 32 pixels"], engine["workers_batch_size"]
    compute = batch / pair["second"]
    lost = batch / pair["first"] - compute
    return lost, compute, lost * sent_bytes(HOSTS) / sent_bytes(2)


def _seconds_an_image(growth: dict) -> float:
    stage = "features of the frozen trunk"
    count = max(int(count) for count, stages in growth["images"].items() if stage in stages)
    return growth["images"][str(count)][stage]["seconds"] / count

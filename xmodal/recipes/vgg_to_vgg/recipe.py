"""VGG16 -> VGG19 and back: what weights that move layer by layer are worth between image networks.

A trained base gives its weights, those of its head too, to a larger target, which is trained in turn.
Beside it stand targets that start with less, and the way back into the base's architecture.
"""

from dataclasses import replace

from xmodal import report
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.data.images import ImageData
from xmodal.recipes.search import adapt_run
from xmodal.recipes.search.images import image_space
from xmodal.recipes.vgg_to_vgg.networks import (
    Network,
    require_match,
    train_network,
    transfer_network,
    with_new_head,
    without_transfer,
)
from xmodal.recipes.vgg_to_vgg.tables import report_of
from xmodal.robustness.image_attack import attack_classifiers, require_library
from xmodal.runs.inputs import load_configured_images
from xmodal.runs.session import Session, begin, finish
from xmodal.transfer.growth import Growth


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_library(config.attack)
    session = begin(config, clock)
    with clock.stage("data"):
        data = load_configured_images(config)
    session.check_data(data.report)
    session = adapt_run(session, lambda: image_space(session, data))
    if config.run.export:
        clock.log("--export: this experiment has nothing to export; vgg_to_bert exports the target")
    networks = compare(session, data)
    run = report_of(session, data, networks)
    models = {
        network.name: network.model for network in networks if network.name in ("target", "target_robust")
    }
    attack_comparisons, attack_tables = attack_classifiers(session, models, data)
    return finish(
        session, replace(run, gains=run.gains + attack_comparisons, tables=run.tables + attack_tables)
    )


def compare(session: Session, data: ImageData) -> list[Network]:
    """Trains and measures the base, the target, what the target is compared with, and the way back."""
    config, clock, image = session.config, session.clock, session.config.image
    require_match(config, session.trainer)

    def move_to_target(name: str, growth: Growth = image.growth) -> Network:
        return transfer_network(
            session, data, name, base, image.target, growth=growth, grow=image.grow, drop=image.drop
        )

    def move_to_base(name: str, source: Network) -> Network:
        # What is new on the way there has no place on the way back, and the other way round.
        return transfer_network(session, data, name, source, image.base, grow=image.drop, drop=image.grow)

    base = train_network(session, data, with_new_head(session, data, "base", image.base, image.image_weights))
    clock.log(f"Test accuracy: {_accuracy(base)}")
    target = train_network(session, data, move_to_target("target"))
    clock.log(f"Target accuracy: {_accuracy(target)}")
    networks = [base, target]
    if config.attack.robust:
        epsilon = max(config.attack.pixel_budgets)
        networks.append(train_network(session, data, move_to_target("target_robust"), epsilon))
    is_grown = bool(target.transfer and target.transfer.names("grown"))
    if is_grown and image.growth == "identity":
        random_growth = train_network(session, data, move_to_target("random_growth", "random"))
        networks.append(random_growth)
    networks += without_transfer(session, data) if config.train.baseline else []
    if is_grown:
        networks.append(train_network(session, data, move_to_base("back", target)))
    if is_grown and image.growth == "identity":
        networks.append(move_to_base("back_random_growth", random_growth))
    return networks


def _accuracy(network: Network) -> str:
    return f"{network.measured[-1].result.accuracy:.2%}"

"""VGG16 -> VGG19 and back: what weights that move layer by layer are worth between image networks.

A trained base gives its weights, those of its head too, to a larger target, which is trained in turn.
Beside it stand targets that start with less, and the way back into the base's architecture.
"""

from dataclasses import replace

from xmodal import report
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.recipes.vgg_to_vgg.networks import (
    Bench,
    Network,
    moved,
    require_match,
    trained,
    with_new_head,
    without_transfer,
)
from xmodal.recipes.vgg_to_vgg.tables import report_of
from xmodal.robustness.image_attack import attack_classifiers, require_library
from xmodal.runs.inputs import configured_images, feature_cache
from xmodal.runs.session import begin, finish
from xmodal.training.strategy import workers
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
    job = begin(config, clock)
    strategy, checkpoints = job.strategy, job.checkpoints
    with clock.stage("data"):
        data = configured_images(config)
    job.check_data(data.report)
    if config.run.export:
        clock.say("--export: this experiment has nothing to export; vgg_to_bert exports the target")
    cache = feature_cache(config, workers(strategy).is_chief, clock.say)
    networks = compare(Bench(config, data, strategy, checkpoints, cache, clock))
    run = report_of(job, data, networks)
    models = {
        network.name: network.model for network in networks if network.name in ("target", "target_robust")
    }
    foiled, under_attack = attack_classifiers(job, models, data)
    return finish(job, replace(run, gains=run.gains + foiled, tables=run.tables + under_attack))


def compare(bench: Bench) -> list[Network]:
    """Trains and measures the base, the target, what the target is compared with, and the way back."""
    image = bench.config.image
    require_match(bench.config, bench.strategy)

    def there(name: str, growth: Growth) -> Network:
        return moved(bench, name, base, image.target, growth=growth, grow=image.grow, drop=image.drop)

    def back(name: str, source: Network) -> Network:
        # What is new on the way there has no place on the way back, and the other way round.
        return moved(bench, name, source, image.base, growth=image.growth, grow=image.drop, drop=image.grow)

    base = trained(bench, with_new_head(bench, "base", image.base, image.image_weights), image.trainable)
    bench.clock.say(f"Test accuracy: {_accuracy(base)}")
    target = trained(bench, there("target", image.growth), image.trainable)
    bench.clock.say(f"Target accuracy: {_accuracy(target)}")
    networks = [base, target]
    if bench.config.attack.robust:
        budget = max(bench.config.attack.pixel_budgets)
        robust = there("target_robust", image.growth)
        networks.append(trained(bench, robust, image.trainable, budget))
    grown = bool(target.transfer and target.transfer.names("grown"))
    if grown and image.growth == "identity":
        random_growth = trained(bench, there("random_growth", "random"), image.trainable)
        networks.append(random_growth)
    networks += without_transfer(bench) if bench.config.train.baseline else []
    if grown:
        networks.append(trained(bench, back("back", target), image.trainable))
    if grown and image.growth == "identity":
        networks.append(back("back_random_growth", random_growth))
    return networks


def _accuracy(network: Network) -> str:
    return f"{network.measured[-1].result.accuracy:.2%}"

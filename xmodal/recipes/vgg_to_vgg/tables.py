"""What is reported of `vgg_to_vgg`."""

from dataclasses import replace

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.images import ImageData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.recipes.transfer_worth import tried_table
from xmodal.recipes.vgg_to_vgg.networks import START, Network, with_names
from xmodal.robustness.attacked import training_cost
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import parts_of_pass
from xmodal.training.baselines import NO_TRANSFER

COMPARISONS = (
    ("target", NO_TRANSFER, "transfer of weights"),
    ("target_start", "base", "the move into {target}, as long as nothing is trained there,"),
    ("target", "base", "the move into {target} and training there"),
    ("target_robust", "target", "training on images of FGSM too"),
    ("target", "random_growth", "growth by identity in the place of random weights"),
    ("back_start", "target", "leaving out the layers that {base} lacks"),
    ("back_random_growth_start", "random_growth", "leaving out the same layers of random_growth"),
    ("back", "base", "the way through {target} and back"),
)


def report_of(session: Session, data: ImageData, networks: list[Network]) -> report.Run:
    """Puts what was measured into the records of a report."""
    config = session.config
    results_by_name = {item.result.name: item for network in networks for item in network.measured}
    # What a network became stands before what it started as.
    names = sorted(results_by_name, key=lambda name: name.endswith(START))
    target = networks[1]
    assert target.transfer is not None
    return report.Run(
        **session.metadata(),
        title=f"{config.image.base} to {config.image.target}",
        data=data.report,
        results={
            name: replace(results_by_name[name].result, seconds=session.result_seconds[name])
            for name in names
        },
        gains=_gains(config, results_by_name),
        transfer=target.transfer,
        histories=tuple(history for network in networks for history in network.histories),
        gallery=(),
        facts=_facts(networks),
        headline=target.name,
        tables=(_table(networks), *(tried_table(network.tried) for network in networks if network.tried)),
        plots=(_plot(config, data, networks),),
    )


def _gains(config: Config, results: dict[str, CalibratedResult]) -> tuple[Comparison, ...]:
    return tuple(
        compare_paired(results[a].correct, results[b].correct, what=with_names(config, what))
        for a, b, what in COMPARISONS
        if {a, b} <= set(results)
    )


def _facts(networks: list[Network]) -> dict[str, float | int | str]:
    seconds = {network.name: network.seconds for network in networks}
    cost = training_cost("target_robust", "target", seconds) if "target_robust" in seconds else {}
    return cost | {
        f"layers without a place in {network.name}": ", ".join(network.transfer.unmatched_source)
        for network in networks
        if network.transfer and network.transfer.unmatched_source
    }


def _table(networks: list[Network]) -> report.Table:
    def row(network: Network) -> tuple[str, ...]:
        accuracy = {item.result.name: 100 * item.result.accuracy for item in network.measured}
        start, end = accuracy.get(network.name + START), accuracy.get(network.name)
        difference = "" if start is None or end is None else f"{end - start:+.2f}"
        cells = ("" if value is None else f"{value:.2f}" for value in (start, end))
        return (network.name, *cells, difference)

    return report.Table(
        "Test accuracy in percent before a network is trained as a whole, and after it",
        ("", "at the start", "after training", "points"),
        tuple(row(network) for network in networks),
    )


def _plot(config: Config, data: ImageData, networks: list[Network]) -> report.Plot:
    def series(network: Network) -> report.Series:
        history = network.histories[-1]
        accuracies = [entry["val_accuracy"] for entry in (history.start, *history.epochs)]
        return report.Series(
            network.name, tuple(steps * number for number in range(len(accuracies))), tuple(accuracies)
        )

    _, steps = parts_of_pass(len(data.train), config.image, config.train)

    return report.Plot(
        f"Accuracy on the {len(data.validation):,} validation images while a network is trained as a whole",
        f"steps of {config.train.batch_size} images",
        "accuracy",
        tuple(series(network) for network in networks if network.histories),
    )

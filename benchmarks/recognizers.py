"""Recognisers, dense and slim in turn: parameters, MACs, latency at 113 x 113 pixels.

``python -m benchmarks recognizers`` does what is not in ``recognizers.jsonl`` yet and writes the
table; names of networks may follow ``python -m benchmarks.recognizers``. Weights are drawn at
random, so this says nothing about accuracy.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.latency import measure_side_by_side
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.recognizers import mobilenet_v2, resnet50, squeezenet
from secateur.search.objective import recalibrate
from secateur.slimming.equivalence import largest_difference
from secateur.slimming.slim import slim

RESULTS = Path(__file__).with_suffix(".jsonl")
SIZE, TRACE_SIZE, RUNS = 113, 64, 15
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "squeezenet": (squeezenet.SqueezeNet, squeezenet.HEADS),
    "mobilenet_v2": (mobilenet_v2.MobileNetV2, mobilenet_v2.HEADS),
    "resnet50": (resnet50.ResNet50, resnet50.HEADS),
}
SCOPES = ("independent", "coupled")
RATES = (0.1, 0.3, 0.5, 0.7)


def main() -> None:
    """Measure what is missing and write the table."""
    torch.set_num_threads(1)
    done = {(row["network"], row["scope"]) for row in read_rows(RESULTS)}
    for name in [name for name in NETWORKS if name in sys.argv[1:]] or NETWORKS:
        for scope in SCOPES:
            if (name, scope) not in done:
                add_rows(RESULTS, measure(name, scope))
    write_section("Recognisers at 113 x 113", report(read_rows(RESULTS)))


def measure(name: str, scope: str) -> list[dict[str, Any]]:
    """One network pruned by L1 at all rates, all its forms timed in turn."""
    build, heads = NETWORKS[name]
    torch.manual_seed(0)
    dense = build().eval()
    for module in dense.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
    image = torch.randn(1, 3, SIZE, SIZE)
    recalibrate(dense, [torch.randn(8, 3, SIZE, SIZE)])
    models, differences = {"dense": dense}, {}
    for rate in RATES:
        models[f"{rate:g}"], differences[rate] = pruned(dense, heads, scope, rate, image)
    timing = measure_side_by_side(models, image, runs=RUNS, max_seconds=60, clock=time.thread_time)
    parameters, macs = count_parameters(dense), count_macs(dense, (image,)).total
    return [
        {
            "network": name,
            "scope": scope,
            "rate": rate,
            "parameters": count_parameters(models[f"{rate:g}"]),
            "params": count_parameters(models[f"{rate:g}"]) / parameters,
            "macs": count_macs(models[f"{rate:g}"], (image,)).total / macs,
            "dense_ms": timing["dense"].median_ms,
            "slim_ms": timing[f"{rate:g}"].median_ms,
            "max_abs_diff": differences[rate],
        }
        for rate in RATES
    ]


def pruned(
    dense: nn.Module, heads: tuple[str, ...], scope: str, rate: float, image: Tensor
) -> tuple[nn.Module, float]:
    """The slim network and its largest difference from the masked one, at full size."""
    small = (image[..., :TRACE_SIZE, :TRACE_SIZE],)
    masked = copy.deepcopy(dense)
    pruner = Pruner(masked, small, PruningSettings("l1", rate, exclude=heads, scope=scope))
    pruner.apply(pruner.plan())
    slimmed, _ = slim(masked, small)
    return slimmed, largest_difference(masked, slimmed, [(image,)])


def report(rows: list[dict[str, Any]]) -> str:
    """The table and what to know about it."""
    about = (
        "`python -m benchmarks recognizers`, one CPU thread, one picture; random weights, L1. "
        f"Medians of {RUNS} forwards, all rates of a row's network and scope in turn with the "
        "dense one, in processor time. The difference is that of slim and masked network."
    )
    header = ["network, scope, rate", "slim parameters", "of dense", "MACs of dense", "dense, ms",
              "slim, ms", "slim / dense", "max diff"]  # fmt: skip
    body = [
        [
            f"{row['network']} {row['scope']} {row['rate']:g}",
            f"{row['parameters']:,}",
            f"{row['params']:.1%}",
            f"{row['macs']:.1%}",
            f"{row['dense_ms']:.1f}",
            f"{row['slim_ms']:.1f}",
            f"{row['slim_ms'] / row['dense_ms']:.1%}",
            f"{row['max_abs_diff']:.0e}",
        ]
        for row in rows
    ]
    return f"{about}\n\n{table(header, body)}"


if __name__ == "__main__":
    main()

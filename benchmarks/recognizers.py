"""Recognisers, dense and slim, side by side: parameters, MACs, latency at 113 x 113 pixels.

    python -m benchmarks.recognizers [squeezenet mobilenet_v2 resnet50] [--rates 0.3 0.5 0.7]

Weights are drawn at random, so this says nothing about accuracy; batch norms have seen something,
so that dead channels are not trivially zero.
"""

from __future__ import annotations

import argparse
import copy
import sys

import torch
from torch import nn

from secateur.deploy.latency import measure_side_by_side
from secateur.pruning.macs import count_macs
from secateur.pruning.pruner import Pruner
from secateur.pruning.slimming import largest_difference, slim
from secateur.pruning.sparsity import count_parameters
from secateur.recognizers import mobilenet_v2, resnet50, squeezenet

SIZE = 113
TRACE_SIZE = 64
NETWORKS = {
    "squeezenet": (squeezenet.SqueezeNet, squeezenet.HEADS),
    "mobilenet_v2": (mobilenet_v2.MobileNetV2, mobilenet_v2.HEADS),
    "resnet50": (resnet50.ResNet50, resnet50.HEADS),
}
HEADER = "| network | scope | rate | parameters | slim | MACs | slim | ms | slim | max diff |"


def main() -> None:
    """Print a table, row by row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), choices=[*NETWORKS, []])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1, 0.3, 0.5, 0.7])
    parser.add_argument("--scopes", nargs="+", default=["independent", "coupled"])
    options = parser.parse_args()
    sys.stdout.write(f"{HEADER}\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
    for name in options.networks:
        for scope in options.scopes:
            for rate in options.rates:
                sys.stdout.write(row(name, scope, rate) + "\n")
                sys.stdout.flush()


def row(name: str, scope: str, rate: float) -> str:
    """One network pruned by L1 at one rate."""
    build, heads = NETWORKS[name]
    torch.manual_seed(0)
    dense = build().eval()
    for module in dense.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
    example = torch.randn(1, 3, SIZE, SIZE)
    small = (example[..., :TRACE_SIZE, :TRACE_SIZE],)
    masked = copy.deepcopy(dense)
    pruner = Pruner(masked, small, "l1", rate, exclude=heads, scope=scope)
    pruner.apply(pruner.plan())
    slimmed, _ = slim(masked, small)
    difference = largest_difference(masked, slimmed, [(example,)])
    timing = measure_side_by_side({"dense": dense, "slim": slimmed}, example)
    parameters = [f"{count_parameters(network):,}" for network in (dense, slimmed)]
    macs = [f"{count_macs(network, (example,)).total / 1e6:.0f} M" for network in (dense, slimmed)]
    times = [f"{timing[key].median_ms:.1f}" for key in ("dense", "slim")]
    cells = [name, scope, f"{rate:g}", *parameters, *macs, *times, f"{difference:.1e}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

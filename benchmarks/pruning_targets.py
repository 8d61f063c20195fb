"""How close targets come: half the parameters, MACs and milliseconds of every network, coupled.

``python -m benchmarks pruning_targets`` does what is not in ``pruning_targets.jsonl`` yet; names
of networks may follow ``python -m benchmarks.pruning_targets``. Nothing is trained.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.pruning_matrix import MODELS, OUTPUTS, SIZES, make_network
from benchmarks.readme import table, write_section
from benchmarks.results import add_rows, read_rows
from secateur.deploy.latency import measure_side_by_side
from secateur.pruning import prune

RESULTS = Path(__file__).with_suffix(".jsonl")
QUANTITIES = ("params", "macs", "latency")
LATENCY_SIZE = 224  # pixels; at fewer, what is not arithmetic decides


def main() -> None:
    """Do what is missing, and write the table."""
    torch.set_num_threads(1)
    done = {(row["model"], row["target"]) for row in read_rows(RESULTS)}
    for name in [name for name in MODELS if name in sys.argv[1:]] or MODELS:
        for quantity in QUANTITIES:
            if (name, quantity) not in done:
                row = measure(name, quantity)
                print(row, flush=True)
                add_rows(RESULTS, [row])
    write_section("Targets", report(read_rows(RESULTS)))


def measure(name: str, quantity: str) -> dict[str, Any]:
    """Prune one network to half of a quantity."""
    model = make_network(name)
    size = LATENCY_SIZE if quantity == "latency" else SIZES[name]
    images = torch.randn(1, 3, size, size)
    started = time.process_time()
    slim, result = prune(
        model, images, "l1", 0.5, target={quantity: 0.5}, exclude=OUTPUTS.get(name, [])
    )
    seconds = time.process_time() - started
    total = result.account.total
    row = {
        "model": name,
        "target": quantity,
        "params": total.parameters_slim / total.parameters,
        "macs": total.macs_slim / total.macs,
        "seconds": seconds,
    }
    if quantity == "latency":
        timing = measure_side_by_side({"dense": model, "slim": slim}, images, runs=25)
        row["latency"] = timing["slim"].median_ms / timing["dense"].median_ms
    return row


def report(rows: list[dict[str, Any]]) -> str:
    """The table and what to know about it."""
    about = (
        '`python -m benchmarks pruning_targets`: `prune(..., scope="coupled", target={...: 0.5})` '
        "with criterion l1, without training; slim over dense, measured after slimming. A target "
        "of latency is solved from the table of layer times and then measured, dense and slim in "
        f"turn, at {LATENCY_SIZE} x {LATENCY_SIZE}. Seconds are of processor time for all of it, "
        "on one thread."
    )
    header = ["network", "target", "slim params", "slim MACs", "slim latency", "off by, points",
              "seconds"]  # fmt: skip
    cells = [
        [
            row["model"],
            f"{row['target']} = 50 %",
            f"{row['params']:.1%}",
            f"{row['macs']:.1%}",
            f"{row['latency']:.1%}" if "latency" in row else "",
            f"{100 * abs(row[row['target']] - 0.5):.2f}",
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    return f"{about}\n\n{table(header, cells)}"


if __name__ == "__main__":
    main()

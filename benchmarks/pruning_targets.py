"""How close targets come: shares of parameters, MACs and milliseconds of every network, coupled.

``python -m benchmarks pruning_targets`` does what is not in ``pruning_targets.jsonl`` yet; names
of networks may follow ``python -m benchmarks.pruning_targets``. Nothing is trained.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.pruning_matrix import MODELS, OUTPUTS, SIZES, make_network
from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.latency import time_in_turn
from secateur.errors import InputError
from secateur.pruning import prune
from secateur.runtime.allocator import keep_large_blocks

RESULTS = Path(__file__).with_suffix(".jsonl")
# Half of the time is less than some networks take with hardly a channel left.
TARGETS = (("params", 0.5), ("macs", 0.5), ("latency", 0.5), ("latency", 0.75))
LATENCY_SIZE = 224  # pixels; at fewer, what is not arithmetic decides


def main() -> None:
    """Do what is missing, and write the table."""
    torch.set_num_threads(1)
    keep_large_blocks()
    done = {(row["model"], row["target"], row["share"]) for row in read_rows(RESULTS)}
    for name in [name for name in MODELS if name in sys.argv[1:]] or MODELS:
        for quantity, share in TARGETS:
            if (name, quantity, share) not in done:
                row = measure(name, quantity, share)
                print(row, flush=True)
                add_rows(RESULTS, [row])
    write_section("Targets", report(read_rows(RESULTS)))


def measure(name: str, quantity: str, share: float) -> dict[str, Any]:
    """Prune one network to a share of a quantity."""
    model = make_network(name)
    size = LATENCY_SIZE if quantity == "latency" else SIZES[name]
    images = torch.randn(1, 3, size, size)
    row: dict[str, Any] = {"model": name, "target": quantity, "share": share}
    started = time.process_time()
    try:
        slim, result = prune(
            model, images, "l1", 0.5, target={quantity: share}, exclude=OUTPUTS.get(name, [])
        )
    except InputError as error:
        return row | {"refused": str(error), "seconds": time.process_time() - started}
    row["seconds"] = time.process_time() - started
    total = result.account.total
    row["params"] = total.parameters_slim / total.parameters
    row["macs"] = total.macs_slim / total.macs
    if quantity == "latency":
        forwards = [(model, (images,)), (slim, (images,))]
        dense_ms, slim_ms = map(
            statistics.median, time_in_turn(forwards, runs=31, warmup=5, clock=time.thread_time)
        )
        row["latency"] = slim_ms / dense_ms
    return row


def report(rows: list[dict[str, Any]]) -> str:
    """The table and what to know about it."""
    about = (
        '`python -m benchmarks pruning_targets`: `prune(..., scope="coupled", target={...})` '
        "with criterion l1, without training; slim over dense, measured after slimming. A target "
        "of latency is solved from a table of layer times, which is corrected by up to four slim "
        "networks that are measured on the way; the figure here is of the network that came out, "
        f"measured anew: median of 31 forwards at {LATENCY_SIZE} x {LATENCY_SIZE}, dense and slim "
        "in turn, in processor time of their one thread, which other work on the machine does not "
        "disturb. Seconds are of processor time for all of it."
    )
    header = ["network", "target", "slim params", "slim MACs", "slim latency", "off by, points",
              "seconds"]  # fmt: skip
    order = {name: number for number, name in enumerate(MODELS)}
    rows = sorted(rows, key=lambda r: (order[r["model"]], r["target"] == "latency", r["share"]))
    body = table(header, [_cells(row) for row in rows])
    refused = [
        f"- {row['model']}: {row['refused'].partition(';')[0]}." for row in rows if "refused" in row
    ]
    return "\n\n".join([about, body, *(["Refused:", "\n".join(refused)] if refused else [])])


def _cells(row: dict[str, Any]) -> list[str]:
    target = f"{row['target']} = {100 * row['share']:.0f} %"
    if "refused" in row:
        return [row["model"], target, "", "", "refused", "", f"{row['seconds']:.0f}"]
    return [
        row["model"],
        target,
        f"{row['params']:.1%}",
        f"{row['macs']:.1%}",
        f"{row['latency']:.1%}" if "latency" in row else "",
        f"{100 * abs(row[row['target']] - row['share']):.2f}",
        f"{row['seconds']:.0f}",
    ]


if __name__ == "__main__":
    main()

"""Every published pruned checkpoint, slimmed: how much of its compression is real.

``SECATEUR_REFERENCE=FOLDER python -m benchmarks published_pruning``, where ``FOLDER/weights`` holds
the checkpoints; results are kept in ``published_pruning.jsonl``, and only new files are measured.
``python -m benchmarks.published_pruning untimed`` leaves the latency out, which takes longest.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.latency import measure_side_by_side
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters, sparsity
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.slimming.slim import slim
from secateur.weights.detector_weights import identify, load_weights, read_weights

RESULTS = Path(__file__).with_suffix(".jsonl")
BUILDERS = {"eresfd": EResFD, "extd": EXTD}
HEIGHT, WIDTH, TRACE_SIZE = 480, 640, 128


def main() -> None:
    """Measure what is new and write the table."""
    reference = os.environ.get("SECATEUR_REFERENCE")
    if not reference:
        print("published_pruning: left out, SECATEUR_REFERENCE is not set")
        return
    torch.set_num_threads(1)
    timed = "untimed" not in sys.argv[1:]
    done = {row["file"] for row in read_rows(RESULTS)}
    for path in sorted((Path(reference) / "weights").glob("*.safetensors")):
        published = path.name.startswith(("bfpgm", "lfdp"))
        if published and "original" not in path.name and path.stem not in done:
            row = measure(path, timed)
            print(row, flush=True)
            add_rows(RESULTS, [row])
    write_section("Published pruned checkpoints, slimmed", report(read_rows(RESULTS)))


def measure(path: Path, timed: bool) -> dict[str, Any]:
    """Slim one checkpoint, and time it if asked to."""
    state = read_weights(path)
    identity = identify(state)
    assert identity is not None
    model: nn.Module = BUILDERS[identity.model](**identity.arguments).eval()
    load_weights(model, state, path.name)
    generator = torch.Generator().manual_seed(0)
    small = 50 * torch.randn(1, 3, TRACE_SIZE, TRACE_SIZE, generator=generator)
    image = 50 * torch.randn(1, 3, HEIGHT, WIDTH, generator=generator)
    result = slim(model, small)
    row: dict[str, Any] = {}
    if timed:
        timing = measure_side_by_side(
            {"dense": model, "slim": result.model},
            image,
            runs=7,
            warmup=1,
            max_seconds=15,
            clock=time.thread_time,
        )
        row["latency"] = timing["slim"].low_ms / timing["dense"].low_ms
    return row | {
        "file": path.stem,
        "sparsity": sparsity(model),
        "params": count_parameters(result.model) / count_parameters(model),
        "macs": count_macs(result.model, image).total / count_macs(model, image).total,
        "max_abs_diff": result.report.max_abs_diff,
        "zero_filters": sum(sum(reasons.values()) for reasons in result.report.refused.values()),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """The table and what to know about it."""
    about = (
        "`SECATEUR_REFERENCE=... python -m benchmarks published_pruning`, one CPU thread, "
        f"{WIDTH} x {HEIGHT} pixels. Sparsity is nominal, as the papers count it; the other shares "
        "are slim over dense, so what the dense networks carry without use (17.7 % of the "
        "B-FPGM EResFD) is gone from them too. Zero filters that stay are those whose removal "
        "would change the output."
    )
    header = ["checkpoint", "sparsity", "slim params", "slim MACs", "latency", "max diff",
              "zero filters that stay"]  # fmt: skip
    cells = [
        [
            row["file"],
            *(f"{row[key]:.1%}" for key in ("sparsity", "params", "macs")),
            f"{row['latency']:.1%}" if "latency" in row else "n/a",
            f"{row['max_abs_diff']:.0e}",
            str(row["zero_filters"]),
        ]
        for row in rows
    ]
    return f"{about}\n\n{table(header, cells)}"


if __name__ == "__main__":
    main()

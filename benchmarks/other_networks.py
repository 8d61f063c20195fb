"""Networks of torchvision that this project says nothing about: what coupled pruning makes of them.

``python -m benchmarks other_networks`` does what is not in ``other_networks.jsonl`` yet and writes
the table; names may follow ``python -m benchmarks.other_networks``. Weights are random.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.errors import InputError
from secateur.pruning import prune
from secateur.search.objective import recalibrate

RESULTS = Path(__file__).with_suffix(".jsonl")
SSDLITE = "ssdlite320_mobilenet_v3_large"
SIZES = dict.fromkeys(
    ["densenet121", "regnet_y_400mf", "regnet_x_400mf", "efficientnet_b0", "efficientnet_v2_s",
     "mnasnet0_5", "googlenet", "shufflenet_v2_x0_5", "convnext_tiny", "mobilenet_v3_large",
     "resnext50_32x4d", "inception_v3", "alexnet", "lraspp_mobilenet_v3_large",
     "deeplabv3_mobilenet_v3_large", SSDLITE, f"{SSDLITE}.backbone"],
    96,
)  # fmt: skip
SCOPES = ("coupled", "independent")


def main() -> None:
    """Do what is missing, and write the table."""
    torch.set_num_threads(1)
    done = {(row["model"], row["scope"]) for row in read_rows(RESULTS)}
    for name in [name for name in SIZES if name in sys.argv[1:]] or SIZES:
        for scope in SCOPES:
            if (name, scope) not in done:
                row = measure(name, scope)
                print(row, flush=True)
                add_rows(RESULTS, [row])
    write_section("Other networks", report(read_rows(RESULTS)))


def make_network(name: str) -> tuple[nn.Module, Tensor | tuple[Any, ...]]:
    """A network with random weights in evaluation mode, and what its forward takes."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, SIZES[name], SIZES[name])
    options: dict[str, Any] = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # the initialisation of these two takes half a minute
    if "_mobilenet_v3_large" in name:
        options["weights_backbone"] = None
    name, _, part = name.partition(".")
    model: nn.Module = models.get_model(name, **options).eval()
    if name == SSDLITE and not part:
        return model, (list(images[:1]),)
    model = model.get_submodule(part)
    # many pictures, because the last layers of some see one value of each
    recalibrate(model, [torch.randn(16, *images.shape[1:]) for _ in range(2)])
    return model, images[:1]


def measure(name: str, scope: str) -> dict[str, Any]:
    """Half the filters of every layer, by L1."""
    model, example = make_network(name)
    started = time.process_time()
    row: dict[str, Any] = {"model": name, "scope": scope}
    try:
        told = prune(model, example, "l1", 0.5, scope=scope).report
    except InputError as error:
        return row | {"refused": str(error)}
    total = told.account.total
    return row | {
        "params": total.parameters_slim / total.parameters,
        "macs": total.macs_slim / total.macs,
        "max_abs_diff": told.slimming.max_abs_diff,
        "seconds": time.process_time() - started,
    }


def report(rows: list[dict[str, Any]]) -> str:
    """The table and what to know about it."""
    order = list(SIZES)
    rows = sorted(rows, key=lambda row: (order.index(row["model"]), SCOPES.index(row["scope"])))
    about = (
        "`python -m benchmarks other_networks`: half the filters of every layer by L1, random "
        "weights, slim over dense; the difference is that of slim and masked network. Seconds are "
        "of processor time for planning, masking, slimming and the proof."
    )
    header = ["network, scope", "slim params", "slim MACs", "max diff", "seconds"]
    body = [
        [f"{row['model']} {row['scope']}", *(["refused", "", "", ""] if "refused" in row else [
            f"{row['params']:.1%}", f"{row['macs']:.1%}", f"{row['max_abs_diff']:.0e}",
            f"{row['seconds']:.1f}"])]
        for row in rows
    ]  # fmt: skip
    reasons = [
        f"Refused: {row['model']} {row['scope']}: {row['refused']}."
        for row in rows
        if "refused" in row
    ]
    return "\n\n".join([about, table(header, body), *reasons])


if __name__ == "__main__":
    main()

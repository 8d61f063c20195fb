"""Networks x criteria x scopes x rates: nominal and slim size, latency, beside Torch-Pruning.

``python -m benchmarks pruning_matrix`` does the cells that are not in ``pruning_matrix.jsonl``
yet and writes the table; ``python -m benchmarks.pruning_matrix resnet18 fpgm l1`` does those of
some networks, criteria and scopes. Weights are random, so nothing has to be downloaded.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
import torchvision
from torch import Tensor, nn

from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.latency import measure_side_by_side
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters, sparsity
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.errors import InputError
from secateur.pruning.layers import prunable_layers
from secateur.pruning.pruner import Pruner
from secateur.pruning.settings import PruningSettings
from secateur.pruning.taylor import TaylorStatistics
from secateur.search.objective import recalibrate
from secateur.slimming.graph.network_graph import batchnorm_after, trace
from secateur.slimming.slim import slim

RESULTS = Path(__file__).with_suffix(".jsonl")
CRITERIA = ("fpgm", "l1", "taylor", "batchnorm")
SCOPES = ("independent", "coupled", "global")
RATES = (0.3, 0.6)
DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "eresfd": EResFD,
    "extd_32": lambda: EXTD(32),
    "extd_48": lambda: EXTD(48),
    "extd_64": lambda: EXTD(64),
}
CLASSIFIERS = ("resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1",
               "vgg11_bn")  # fmt: skip
MODELS = (*DETECTORS, *CLASSIFIERS)
OUTPUTS = {"squeezenet1_1": ["classifier.1"]} | {name: ["loc.*", "conf.*"] for name in DETECTORS}
SIZES = dict.fromkeys(DETECTORS, 128) | dict.fromkeys(CLASSIFIERS, 64)  # pixels

Cell = dict[str, Any]


def main() -> None:
    """Do what is missing of the networks on the command line, and write the table."""
    names, criteria, scopes = (
        [name for name in known if name in sys.argv[1:]] or known
        for known in (MODELS, CRITERIA, SCOPES)
    )
    done = {_key(cell) for cell in read_rows(RESULTS)}
    torch.set_num_threads(1)
    for name in names:
        for scope in scopes:
            keys = [(name, c, scope, r) for c in criteria for r in RATES]
            if missing := [key for key in keys if key not in done]:
                for cell in measure(name, scope, missing):
                    add_rows(RESULTS, [cell])
                    print(_row(cell), flush=True)
    write_section("Pruning matrix", report(read_rows(RESULTS)))


def make_network(name: str) -> nn.Module:
    """A network with random weights, whose batch norms know the statistics of their inputs.

    As in a trained network, channels then keep their size from layer to layer. With drawn
    statistics those of MobileNetV2 fade until a difference in its outputs would go unseen. Those
    of EXTD are drawn all the same: no statistics fit six runs of one block with random weights.
    """
    torch.manual_seed(0)
    make = DETECTORS.get(name) or (lambda: getattr(torchvision.models, name)(weights=None))
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    if not name.startswith("extd"):
        recalibrate(model, [torch.randn(8, 3, SIZES[name], SIZES[name]) for _ in range(2)])
    return model.eval()


def measure(name: str, scope: str, keys: list[tuple[str, str, str, float]]) -> Iterator[Cell]:
    """Cells of one network and scope; what is the same for all of them is done once."""
    model = make_network(name)
    images = torch.randn(1, 3, SIZES[name], SIZES[name])
    dense = {"params": count_parameters(model), "macs": count_macs(model, images).total}
    norms = batchnorm_after(trace(model, images))
    wants_taylor = any(criterion == "taylor" for _, criterion, _, _ in keys)
    statistics = taylor_statistics(model, images) if wants_taylor else {}
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    without_norm = [n for n in convolutions if n not in norms]
    for _, criterion, _, rate in keys:
        cell: Cell = {"model": name, "criterion": criterion, "scope": scope, "rate": rate}
        exclude = [*OUTPUTS.get(name, []), *(without_norm if criterion == "batchnorm" else [])]
        subject = copy.deepcopy(model)
        try:
            started = time.process_time()
            pruner = Pruner(
                subject, (images,), PruningSettings(criterion, rate, exclude=exclude, scope=scope)
            )
            pruner.statistics = statistics
            pruner.apply(pruner.plan())
            result = slim(subject, images)
            cell["seconds"] = time.process_time() - started
        except InputError as error:
            yield cell | {"refused": str(error)}
            continue
        timing = measure_side_by_side(
            {"dense": model, "slim": result.model},
            images,
            runs=9,
            warmup=1,
            max_seconds=3,
            clock=time.thread_time,
        )
        cell |= {
            "sparsity": sparsity(subject),
            "params": count_parameters(result.model) / dense["params"],
            "macs": count_macs(result.model, images).total / dense["macs"],
            "latency": timing["slim"].low_ms / timing["dense"].low_ms,
            "max_abs_diff": result.report.max_abs_diff,
        }
        if scope != "independent":
            cell["torch_pruning"] = torch_pruning(model, images, cell, exclude, dense)
        yield cell


def taylor_statistics(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Scores of three batches of noise and a loss of no meaning: what counts here is the path."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    with TaylorStatistics(layers, "taylor") as statistics:
        for seed in range(3):
            torch.manual_seed(seed)
            model.zero_grad()
            _loss(model, torch.randn(2, *images.shape[1:])).backward()
            statistics.end_batch()
    model.zero_grad()
    return statistics.means()


def torch_pruning(
    model: nn.Module, images: Tensor, cell: Cell, exclude: list[str], dense: dict[str, int]
) -> Cell:
    """The same cell by Torch-Pruning, or why it cannot."""
    subject = copy.deepcopy(model)
    importance = {
        "fpgm": lambda: tp.importance.FPGMImportance(),
        "l1": lambda: tp.importance.MagnitudeImportance(p=1),
        "taylor": lambda: tp.importance.TaylorImportance(),
        "batchnorm": lambda: tp.importance.BNScaleImportance(),
    }[cell["criterion"]]()
    keep = prunable_layers(model).keys() - prunable_layers(model, exclude).keys()
    ignored = [m for n, m in subject.named_modules() if n in keep or isinstance(m, nn.Linear)]
    try:
        started = time.process_time()
        pruner = tp.pruner.BasePruner(
            subject,
            images,
            importance,
            pruning_ratio=cell["rate"],
            global_pruning=cell["scope"] == "global",
            ignored_layers=ignored,
        )
        if cell["criterion"] == "taylor":
            _loss(subject, images).backward()
        pruner.step()
        seconds = time.process_time() - started
        with torch.no_grad():
            subject(images)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"}
    return {
        "params": count_parameters(subject) / dense["params"],
        "macs": count_macs(subject, images).total / dense["macs"],
        "seconds": seconds,
    }


def report(cells: list[Cell]) -> str:
    """The table and what to know about it."""
    order = {key: i for i, key in enumerate(MODELS)}
    cells = sorted(cells, key=lambda c: (order[c["model"]], SCOPES.index(c["scope"]),
                                         CRITERIA.index(c["criterion"]), c["rate"]))  # fmt: skip
    whole = len(MODELS) * len(CRITERIA) * len(SCOPES) * len(RATES)
    done = [c for c in cells if "refused" not in c]
    worst = max((c["max_abs_diff"] for c in done), default=0.0)
    reasons = sorted({f"{c['model']}, {c['criterion']}: {c['refused']}" for c in cells
                      if "refused" in c})  # fmt: skip
    header = ["network, scope, criterion, rate", "sparsity", "slim params", "slim MACs", "latency",
              "max diff", "seconds", "Torch-Pruning params", "MACs", "seconds"]  # fmt: skip
    about = (
        "`python -m benchmarks pruning_matrix` on one CPU thread; random weights, statistics of "
        "batch norms from noise (drawn for EXTD); classifiers at 64 x 64, detectors at 128 x 128 "
        "pixels. Sparsity is nominal: zero over all parameters. The other figures are slim over "
        "dense; latency is the 10th percentile of a few forwards of both in turn. All seconds are "
        "of processor time; those of the table are for planning, masking, slimming and the proof. "
        "Under `batchnorm`, layers without a batch norm are excluded. Torch-Pruning removes "
        "channels without masks or proof, and has no independent scope."
    )
    outcome = (
        f"{len(cells)} of {whole} cells measured; {len(done)} slimmed with a largest absolute "
        f"difference of {worst:.2e}, {len(cells) - len(done)} refused."
    )
    rows = table(header, [_row(cell) for cell in cells])
    return "\n\n".join([about, outcome, rows, *[f"Refused: {reason}." for reason in reasons]])


def _row(cell: Cell) -> list[str]:
    first = f"{cell['model']} {cell['scope']} {cell['criterion']} {cell['rate']}"
    if "refused" in cell:
        return [first, "refused", *[""] * 8]
    peer = cell.get("torch_pruning", {})
    theirs = [peer.get("failed", "").partition(":")[0], "", ""]
    if "params" in peer:
        theirs = [_share(peer["params"]), _share(peer["macs"]), _seconds(peer)]
    return [
        first,
        *(_share(cell.get(key)) for key in ("sparsity", "params", "macs", "latency")),
        f"{cell['max_abs_diff']:.0e}",
        _seconds(cell),
        *theirs,
    ]


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}"


def _seconds(cell: Cell) -> str:
    return f"{cell['seconds']:.1f}" if "seconds" in cell else "n/a"


def _key(cell: Cell) -> tuple[str, str, str, float]:
    return cell["model"], cell["criterion"], cell["scope"], cell["rate"]


def _loss(model: nn.Module, images: Tensor) -> Tensor:
    outputs = model(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return torch.stack([output.square().mean() for output in outputs]).sum()


if __name__ == "__main__":
    main()

"""What half the filters less buys on one CPU thread, in eager PyTorch and in ONNX Runtime.

``python -m benchmarks slim_latency``: coupled 50 % of both detectors at 640 x 480; channel counts
as they come beside multiples of 8 and 16; and what leaving the remaining zero filters of
``independent`` pruning out of the convolutions (``scatter_zero_filters``) adds. All forms of one
network are timed in turn, so that their ratios hold on a machine that is not quiet. Names of
networks may follow ``python -m benchmarks.slim_latency``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.latency import measure_side_by_side
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.pruning.prune import prune
from secateur.runtime.allocator import keep_large_blocks
from secateur.runtime.fusion import fuse
from secateur.slimming.scattered_conv import scatter_zero_filters

RESULTS = Path(__file__).with_suffix(".jsonl")
TRACE_SIZE, FLOOR_SIZE, RUNS = 128, 32, 15
HEADS = ("loc.*", "conf.*")
FORMS = (("coupled", 0.5, 1), ("coupled", 0.3, 1), ("coupled", 0.3, 8), ("coupled", 0.3, 16),
         ("independent", 0.5, 1))  # fmt: skip


class Subject(NamedTuple):
    """A network that is pruned and timed.

    Attributes:
        make: What builds it.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        exclude: Patterns of layers that stay whole.
    """

    make: Callable[[], nn.Module]
    height: int
    width: int
    exclude: tuple[str, ...] = ()


NETWORKS = {
    "eresfd": Subject(EResFD, 480, 640, HEADS),
    "extd_64": Subject(lambda: EXTD(64), 480, 640, HEADS),
    "mobilenet_v2": Subject(mobilenet_v2, 224, 224),
    "resnet18": Subject(resnet18, 224, 224),
}


def main() -> None:
    """Measure networks that are not in ``slim_latency.jsonl`` yet and write the table."""
    torch.set_num_threads(1)
    keep_large_blocks()
    done = {row["network"] for row in read_rows(RESULTS)}
    for name in [name for name in NETWORKS if name in sys.argv[1:]] or NETWORKS:
        if name not in done:
            add_rows(RESULTS, measure(name))
    write_section("Latency of half the filters", report(read_rows(RESULTS)))


def forms(subject: Subject, dense: nn.Module, image: Tensor) -> Iterator[tuple[str, nn.Module]]:
    """What a network becomes, by what was done to it."""
    yield "dense", dense
    small = image[..., :TRACE_SIZE, :TRACE_SIZE]
    for scope, rate, align in FORMS:
        slim = prune(
            dense, small, "fpgm", rate, scope=scope, align=align, exclude=subject.exclude
        ).model
        yield f"{scope} {rate:.0%}{f', align={align}' if align > 1 else ''}", slim
    scattered = scatter_zero_filters(slim, image)
    if scattered.speedups:
        yield f"{scope} {rate:.0%}, scattered layers: {len(scattered.speedups)}", scattered.model


def measure(name: str) -> list[dict[str, Any]]:
    """Rows of one network."""
    torch.manual_seed(0)
    subject = NETWORKS[name]
    dense = subject.make().eval().requires_grad_(False)
    image = torch.randn(1, 3, subject.height, subject.width)
    models = dict(forms(subject, dense, image))
    small = image[..., :FLOOR_SIZE, :FLOOR_SIZE]
    fusable = {
        form: fuse(model).to(memory_format=torch.channels_last) for form, model in models.items()
    }
    eager, fused, floor = (
        measure_side_by_side(which, images, runs=RUNS, max_seconds=90, clock=time.thread_time)
        for which, images in (
            (models, image),
            (fusable, image.contiguous(memory_format=torch.channels_last)),
            (models, small),
        )
    )
    runtime = runtime_side_by_side(models, image)
    params, macs = count_parameters(dense), count_macs(dense, image).total
    rows = [
        {
            "network": name,
            "form": form,
            "params": count_parameters(model) / params,
            "macs": count_macs(model, image).total / macs,
            "eager_ms": eager[form].median_ms,
            "fused_ms": fused[form].median_ms,
            "floor_ms": floor[form].median_ms,
            "runtime_ms": runtime[form],
        }
        for form, model in models.items()
    ]
    print(*rows, sep="\n", flush=True)
    return rows


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table and what to know about it."""
    about = (
        "`python -m benchmarks slim_latency`: detectors at 640 x 480, classifiers at 224 x 224, "
        f"one thread, FPGM, random weights, heads whole; medians of {RUNS} forwards, all forms of "
        "a network in turn, in processor time, so that other work on the machine counts little. "
        "Fused is what `evaluate.py` runs on a CPU: channels last, batch norms and activations "
        "within convolutions. `align` keeps numbers of filters at multiples, rounding up: with 16 "
        "filters in a layer that can mean all of them. The milliseconds at "
        f"{FLOOR_SIZE} x {FLOOR_SIZE} are what calling the operators costs by itself: pruning "
        "takes filters from layers, not layers, so this part stays. The rest falls less than MACs "
        "do. What of that is vector units that few channels leave idle, and what is batch norms, "
        "activations, sums and resizing, which count no MACs, was not measured apart."
    )
    header = ["network", "pruned", "params", "MACs", "eager, ms", "slim / dense", "at 32 x 32, ms",
              "fused, ms", "slim / dense", "ONNX Runtime, ms", "slim / dense"]  # fmt: skip
    dense = {row["network"]: row for row in rows if row["form"] == "dense"}
    cells = [
        [
            row["network"],
            row["form"],
            f"{row['params']:.1%}",
            f"{row['macs']:.1%}",
            f"{row['eager_ms']:.1f}",
            f"{row['eager_ms'] / dense[row['network']]['eager_ms']:.1%}",
            f"{row['floor_ms']:.1f}",
            f"{row['fused_ms']:.1f}",
            f"{row['fused_ms'] / dense[row['network']]['fused_ms']:.1%}",
            f"{row['runtime_ms']:.1f}",
            f"{row['runtime_ms'] / dense[row['network']]['runtime_ms']:.1%}",
        ]
        for row in rows
    ]
    return f"{about}\n\n{table(header, cells)}"


def runtime_side_by_side(models: Mapping[str, nn.Module], image: Tensor) -> dict[str, float]:
    """Median milliseconds of each network in ONNX Runtime, timed in turn."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = {
            form: _session(model, image, Path(folder) / f"{number}.onnx")
            for number, (form, model) in enumerate(models.items())
        }
        given = {"images": image.numpy()}
        times: dict[str, list[float]] = {form: [] for form in models}
        for run in range(RUNS + 3):
            for form, session in sessions.items():
                started = time.thread_time()
                session.run(None, given)
                if run >= 3:  # the first ones warm up
                    times[form].append(1e3 * (time.thread_time() - started))
    return {form: statistics.median(values) for form, values in times.items()}


def _session(model: nn.Module, image: Tensor, path: Path) -> onnxruntime.InferenceSession:
    """The network in ONNX Runtime, proved to give what it gives in PyTorch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (image,), path, input_names=["images"], dynamo=True, verbose=False,
            external_data=False,
        )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = torch.utils._pytree.tree_leaves(model(image))
    for ours, theirs in zip(expected, session.run(None, {"images": image.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=1e-3, atol=1e-3)
    return session


if __name__ == "__main__":
    main()

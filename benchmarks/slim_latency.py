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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from benchmarks.readme import table, write_section
from secateur.deploy.allocator import keep_large_blocks
from secateur.deploy.latency import measure_side_by_side
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.pruning.macs import count_macs
from secateur.pruning.prune import prune
from secateur.pruning.scattering import scatter_zero_filters
from secateur.pruning.sparsity import count_parameters

HEIGHT, WIDTH, TRACE_SIZE = 480, 640, 128
RUNS = 15
EXCLUDE = ("loc.*", "conf.*")
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "eresfd": EResFD,
    "extd_64": lambda: EXTD(64),
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
}
FORMS = (("coupled", 0.5, 1), ("coupled", 0.3, 1), ("coupled", 0.3, 8), ("coupled", 0.3, 16),
         ("independent", 0.5, 1))  # fmt: skip
HEADER = ["network", "pruned", "params", "MACs", "eager, ms", "slim / dense",
          "ONNX Runtime, ms", "slim / dense"]  # fmt: skip


def main() -> None:
    """Measure both networks and write the table."""
    torch.set_num_threads(1)
    keep_large_blocks()
    names = [name for name in NETWORKS if name in sys.argv[1:]] or list(NETWORKS)
    rows = [row for name in names for row in measure(name)]
    about = (
        f"`python -m benchmarks slim_latency`, {WIDTH} x {HEIGHT}, one thread, FPGM, random "
        f"weights, heads whole; medians of {RUNS} forwards, all forms of a network in turn."
    )
    write_section("Latency of half the filters", f"{about}\n\n{table(HEADER, rows)}")


def forms(dense: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What a network becomes, by what was done to it."""
    yield "dense", dense
    small = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE)
    image = torch.zeros(1, 3, HEIGHT, WIDTH)
    for scope, rate, align in FORMS:
        slim = prune(dense, small, "fpgm", rate, scope=scope, align=align, exclude=EXCLUDE).model
        yield f"{scope} {rate:.0%}{f', align={align}' if align > 1 else ''}", slim
    scattered = scatter_zero_filters(slim, image)
    if scattered.speedups:
        yield f"{scope} {rate:.0%}, {len(scattered.speedups)} layers scattered", scattered.model


def measure(name: str) -> list[list[str]]:
    """Rows of one network."""
    torch.manual_seed(0)
    dense = NETWORKS[name]().eval().requires_grad_(False)
    image = torch.randn(1, 3, HEIGHT, WIDTH)
    models = dict(forms(dense))
    eager = {
        form: latency.median_ms
        for form, latency in measure_side_by_side(models, image, runs=RUNS, max_seconds=90).items()
    }
    runtime = runtime_side_by_side(models, image)
    params, macs = count_parameters(dense), count_macs(dense, image).total
    rows = []
    for form, model in models.items():
        rows.append(
            [
                name,
                form,
                f"{count_parameters(model) / params:.1%}",
                f"{count_macs(model, image).total / macs:.1%}",
                f"{eager[form]:.1f}",
                f"{eager[form] / eager['dense']:.1%}",
                f"{runtime[form]:.1f}",
                f"{runtime[form] / runtime['dense']:.1%}",
            ]
        )
        print(rows[-1], flush=True)
    return rows


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
                started = time.perf_counter()
                session.run(None, given)
                if run >= 3:  # the first ones warm up
                    times[form].append(1e3 * (time.perf_counter() - started))
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

"""Networks that nobody tuned for: what coupled pruning makes of them, here and in Torch-Pruning.

``python -m benchmarks any_network`` does what is not in ``any_network.jsonl`` yet and writes the
table; names may follow ``python -m benchmarks.any_network``. Weights and statistics are random.
Both libraries remove half the filters of every layer by L1, in the same process one after the
other; each network has a process of its own with a limit on processor time and memory. Both have
pruned a small network before, so that what PyTorch imports at the first export counts for nobody.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch_pruning
from torch import Tensor, nn
from torchvision import models

from benchmarks.face_networks import FACE_NETWORKS
from benchmarks.results import add_rows, read_rows, table, write_section
from secateur.cost.macs import count_macs
from secateur.cost.parameters import count_parameters
from secateur.detectors.eresfd import EResFD
from secateur.detectors.extd import EXTD
from secateur.errors import InputError
from secateur.pruning import prune
from secateur.recognizers.iresnet import IResNet
from secateur.recognizers.mobilefacenet import MobileFaceNet

RESULTS = Path(__file__).with_suffix(".jsonl")
SECONDS = 60  # of processor time for each library
GIBIBYTES = 4  # of private memory
SIZE = 96
GOOD = 0.42  # share of the parameters at coupled 50 % that counts as good: a plain network has 0.25

TIMM = (
    "resnet18", "resnet50_gn", "resnetv2_50x1_bit", "skresnet18", "resnest14d", "res2net50_26w_4s",
    "ecaresnet26t", "seresnet18", "gernet_s", "regnety_002", "regnetx_002", "repvgg_a0", "vgg11_bn",
    "densenet121", "dla34", "darknet53", "cspresnet50", "vovnet39a", "selecsls42b", "dpn48b",
    "hrnet_w18_small", "efficientnet_b0", "efficientnet_lite0", "tf_efficientnet_b0", "mixnet_s",
    "mnasnet_small", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "fbnetc_100", "spnasnet_100", "lcnet_050", "tinynet_e", "ghostnet_050", "repghostnet_050",
    "convnext_atto", "convnextv2_atto", "nfnet_l0", "fastvit_t8", "mobileone_s0", "efficientvit_b0",
    "mobilevit_xxs", "edgenext_xx_small", "levit_128s", "repvit_m0_9", "starnet_s1", "inception_v3",
)  # fmt: skip
TORCHVISION = ("alexnet", "resnet50", "densenet201", "squeezenet1_1", "googlenet",
               "shufflenet_v2_x0_5", "resnext50_32x4d", "mobilenet_v3_large",
               "lraspp_mobilenet_v3_large")  # fmt: skip
OWN: dict[str, Callable[[], nn.Module]] = {
    "iresnet18": lambda: IResNet(18, SIZE),
    "iresnet50": lambda: IResNet(50, SIZE),
    "MobileFaceNet": lambda: MobileFaceNet(input_size=SIZE),
    "EXTD": EXTD,
    "EResFD": EResFD,
}
NAMES = (*TIMM, *(f"torchvision {name}" for name in TORCHVISION), *FACE_NETWORKS, *OWN)
UNEQUAL = " unequal"  # behind the name: norms may lose channels
NORMALIZED = ("convnext_atto", "convnextv2_atto", "edgenext_xx_small", "mobilevit_xxs",
              "efficientvit_b0", "resnet50_gn", "GroupNorm head")  # fmt: skip

SEED = 0  # of the ten networks that nobody looked at
LARGEST = 60e6  # parameters of one of them
# What is no convolutional network by its name; the rest of timm is drawn from.
OTHERS = ("vit", "former", "mixer", "swin", "beit", "deit", "eva", "mlp", "cait", "coat", "volo",
          "xcit", "tnt", "twins", "halo", "botnet", "bat_", "lambda", "hiera", "pvt", "focal",
          "sequencer", "nest_", "pit_", "naflex", "csatv2")  # fmt: skip


def main() -> None:
    """Do what is missing, and write the table."""
    asked = sys.argv[1:]
    if asked[:1] == ["unseen"]:
        asked = [f"unseen {name}" for name in unseen(SEED)]
    done = {row["model"] for row in read_rows(RESULTS)}
    warm_up()
    wanted = [*NAMES, *(f"{name}{UNEQUAL}" for name in NORMALIZED)]
    for name in asked or wanted:
        if name not in done:
            row = measure(name)
            print(row, flush=True)
            add_rows(RESULTS, [row])
    write_section("Any network", report(read_rows(RESULTS)))


def warm_up() -> None:
    """Prune a small network by both libraries."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    images = torch.randn(1, 3, 16, 16)
    _, outputs = by_secateur(model.eval(), images)
    by_torch_pruning(model, images, outputs)


def unseen(seed: int, count: int = 10) -> list[str]:
    """Convolutional networks of timm drawn by a seed, none of a family in the list above."""
    families = {name.split("_")[0].rstrip("0123456789") for name in TIMM}
    names = sorted(
        name
        for name in timm.list_models()
        if name.split("_")[0].rstrip("0123456789") not in families
        and not any(word in name for word in OTHERS)
    )
    random.Random(seed).shuffle(names)
    return list(itertools.islice((name for name in names if _parameters(name) <= LARGEST), count))


def _parameters(name: str) -> int:
    with torch.device("meta"):
        return count_parameters(timm.create_model(name))


def make_network(name: str) -> nn.Module:
    """A network with random weights and statistics, in evaluation mode."""
    torch.manual_seed(0)
    if name in FACE_NETWORKS or name in OWN:
        model = {**FACE_NETWORKS, **OWN}[name]()
    elif name.startswith("torchvision "):
        options: dict[str, Any] = {"weights": None}
        if name.endswith("googlenet"):
            options["init_weights"] = False
        if "lraspp" in name:
            options["weights_backbone"] = None
        model = models.get_model(name.removeprefix("torchvision "), **options)
    else:
        model = timm.create_model(name.removeprefix("unseen "))
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    for parameter in model.parameters():
        # Gates that start at zero would make whole branches dead, which no trained network has.
        if parameter.dim() < 2 or not bool(parameter.any()):
            noise = torch.rand(parameter.shape, generator=generator)
            parameter.data.add_(torch.where(parameter == 0, 0.1 + 0.5 * noise, 0))
    return model.eval()


def example(model: nn.Module) -> Tensor:
    """Pictures of the test size, or of the only size that a network takes."""
    settings = getattr(model, "default_cfg", None) or {}
    size = (
        settings.get("input_size", (3, SIZE, SIZE))[-1]
        if settings.get("fixed_input_size")
        else SIZE
    )
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def measure(name: str) -> dict[str, Any]:
    """Half the filters of every layer by both libraries, in a process with limits."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_limited, args=(name, sender))
    process.start()
    sender.close()
    stopped = {"failed": f"stopped at {SECONDS} s of processor time or {GIBIBYTES} GiB"}
    found: list[dict[str, Any]] = []
    try:
        found.append(receiver.recv())
        found.append(receiver.recv())
    except EOFError:
        found += [stopped] * (2 - len(found))
    process.join()
    return {"model": name, "code": commit()} | found[0] | {"theirs": found[1]}


def commit() -> str:
    """Commit of the code that is measured; empty outside of a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _measure_limited(name: str, sender: Any) -> None:  # noqa: ANN401  a Connection
    """Send a row of this library and one of Torch-Pruning, each made within the limits."""
    torch.set_num_threads(1)
    limit = GIBIBYTES * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    model = make_network(name.removesuffix(UNEQUAL))
    images = example(model)
    _allow_seconds()
    row, outputs = by_secateur(model, images, equal=not name.endswith(UNEQUAL))
    sender.send(row)
    _allow_seconds()
    sender.send(by_torch_pruning(model, images, outputs))
    sender.close()


def _allow_seconds() -> None:
    """Let the process compute for the limit from now on; the system ends it then."""
    seconds = int(time.process_time()) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def by_secateur(
    model: nn.Module, images: Tensor, *, equal: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Half the filters of every layer by this library; and the layers that write outputs.

    The latter is what users of Torch-Pruning have to tell it; where this library refuses, it is
    the last linear layer.
    """
    dense, macs = count_parameters(model), count_macs(model, images).total
    outputs = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1:]
    row: dict[str, Any] = {}
    started = time.process_time()
    try:
        told = prune(model, images, "l1", 0.5, equal=equal).report
        total = told.account.total
        row = {
            "params": total.parameters_slim / dense,
            "macs": total.macs_slim / max(macs, 1),
            "relative": told.slimming.max_rel_diff,
            "renormalized": len(told.slimming.renormalized),
            "held": str(told.slimming.held[0])[:300] if told.slimming.held else "",
        }
        written = [h for h in told.slimming.held if "output of the network" in h.reason]
        outputs = [name for held in written for name in held.layers]
    except InputError as error:
        row["refused"] = str(error)[:400]
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        first = (str(error).splitlines() or [""])[0]
        row["failed"] = f"{type(error).__name__} ({where}): {first[:120]}"
    return row | {"seconds": time.process_time() - started}, outputs


def by_torch_pruning(model: nn.Module, images: Tensor, outputs: Sequence[str]) -> dict[str, Any]:
    """The same by Torch-Pruning, which changes the network, told which layers write outputs."""
    dense = count_parameters(model)
    started = time.process_time()
    try:
        ignored = [model.get_submodule(name) for name in outputs]
        torch_pruning.pruner.BasePruner(
            model,
            images,
            torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=0.5,
            ignored_layers=ignored,
        ).step()
        seconds = time.process_time() - started
        with torch.no_grad():
            model(images)
    except Exception as error:
        lines = str(error).splitlines() or [""]
        return {
            "failed": f"{type(error).__name__}: {lines[0][:80]}",
            "seconds": time.process_time() - started,
        }
    return {"params": count_parameters(model) / dense, "seconds": seconds}


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Headline counts, the table, and reasons."""
    seen = [row for row in rows if not row["model"].startswith("unseen ")]
    drawn = [row for row in rows if row["model"].startswith("unseen ")]
    about = (
        "`python -m benchmarks any_network`: half the filters of every layer by L1, coupled; "
        "random weights, one thread, both libraries in one run, after a small network. Share of "
        "the parameters that is left, largest difference between slim and masked network relative "
        "to the largest output, seconds of processor time. Torch-Pruning removes without masks or "
        "proof; it is told which layers write outputs."
    )
    parts = [about, headline(seen, "networks"), *seconds_by_code(rows)]
    done = {row["model"] for row in rows}
    missing = [name for name in NAMES if name not in done]
    if missing:
        parts.append(f"Of the list, {len(missing)} are not measured yet: {', '.join(missing)}.")
    if drawn:
        parts.append(headline(drawn, "networks drawn by a seed and not looked at while building"))
    header = ["network", "slim params", "slim MACs", "difference", "seconds",
              "Torch-Pruning params", "seconds"]  # fmt: skip
    parts.append(table(header, [_cells(row) for row in rows]))
    parts += [
        f"{row['model']}: {row.get('refused') or row.get('failed')}"
        for row in rows
        if "params" not in row
    ]
    held = [row for row in rows if row.get("params", 0) > GOOD and row.get("held")]
    parts += [f"{row['model']} is held: {row['held']}" for row in held]
    return "\n\n".join(parts)


def headline(rows: Sequence[Mapping[str, Any]], what: str) -> str:
    """Counts of one sentence."""
    plain = [row for row in rows if not row["model"].endswith(UNEQUAL)]
    slim = [row for row in plain if "params" in row and row["params"] < 1]
    small = [row for row in slim if row["params"] <= GOOD]
    theirs = [row for row in plain if "params" in row.get("theirs", {})]
    both = [row for row in slim if row in theirs]
    ratios = [row["seconds"] / row["theirs"]["seconds"] for row in both]
    within = sum(ratio <= 3 for ratio in ratios)
    often = f"a median of {statistics.median(ratios or [0]):.1f} times"
    return (
        f"**Of {len(plain)} {what}, {len(slim)} became slim and equal ({len(small)} at or under "
        f"{GOOD:.0%} of the parameters), {sum('refused' in row for row in plain)} were refused "
        f"with a reason and {sum('failed' in row for row in plain)} failed; Torch-Pruning "
        f"succeeded on {len(theirs)}.** Where both succeed, this library takes {often} its "
        f"processor time, and at most three times as long on {within} of {len(both)}."
    )


def seconds_by_code(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each state of the code took against Torch-Pruning, where rows are of several."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        theirs = row.get("theirs", {})
        if "params" in row and "params" in theirs:
            ratio = row["seconds"] / theirs["seconds"]
            ratios.setdefault(row.get("code", ""), []).append(ratio)
    said = [
        f"{len(found)} of {f'commit {code}' if code else 'earlier code (marked °)'} take a median "
        f"of {statistics.median(found):.1f} times, {sum(r <= 3 for r in found)} at most three times"
        for code, found in ratios.items()
    ]
    parts = [f"Of the rows where both succeed, {'; '.join(said)}."] if len(said) > 1 else []
    kept = [row["model"] for row in rows if row.get("theirs_of_earlier")]
    if kept:
        parts.append(f"Torch-Pruning's figures of {', '.join(kept)} are of an earlier run.")
    return parts


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "params" in row:
        own = [f"{row['params']:.1%}", f"{row['macs']:.1%}", f"{row['relative']:.0e}"]
    else:
        own = ["refused" if "refused" in row else "failed", "", ""]
    theirs = row.get("theirs", {})
    other = f"{theirs['params']:.1%}" if "params" in theirs else "failed"
    seconds = f"{theirs['seconds']:.2f}" if "seconds" in theirs else ""
    name = row["model"] if row.get("code") else f"{row['model']} °"
    return [name, *own, f"{row.get('seconds', 0):.2f}", other, seconds]


if __name__ == "__main__":
    main()

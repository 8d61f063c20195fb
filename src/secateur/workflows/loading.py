"""Load a network from anything: a run, a slim network, a checkpoint, weights, an exported file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig
from torch import nn

from secateur.cost.parameters import count_nonzero, count_parameters
from secateur.data.face_crop import SquareCut
from secateur.deploy.description import FaceCut
from secateur.deploy.exported import (
    ExportedNetwork,
    ExportedRecognizer,
    is_exported,
    open_exported,
)
from secateur.described_network import build_described, find_builder
from secateur.detectors.detection import is_detector
from secateur.errors import InputError
from secateur.pruning.artifact import (
    SPECIFICATION,
    is_slim,
    load_slim,
    read_about,
    read_slim_architecture,
)
from secateur.weights import recognizer_weights
from secateur.weights.dense import read_architecture
from secateur.weights.detector_weights import identify, load_weights, read_weights
from secateur.workflows.config.saved_config import Values, saved_model
from secateur.workflows.own_networks import builders
from secateur.workflows.run_records import (
    latest_run,
    read_config,
    read_summary,
    thresholds_of_run,
    value_at,
)

log = logging.getLogger(__name__)

Task = Literal["detection", "recognition"]

LATEST = "latest"
_KEEPS_SINGLES = "clovaai/EResFD"  # the one release whose own evaluation does
_RECOGNIZER_SIZE = 113  # of the published recipes
# a tensor that one recognizer has, and those further down have not
_RECOGNIZER_SIGNS: dict[str, tuple[str, dict[str, int]]] = {
    "layer3.29.prelu.weight": ("iresnet", {"depth": 100}),
    "layer3.13.prelu.weight": ("iresnet", {"depth": 50}),
    "layer3.5.prelu.weight": ("iresnet", {"depth": 34}),
    "layer1.0.prelu.weight": ("iresnet", {"depth": 18}),
    "conv_sep.layers.0.weight": ("mobilefacenet", {}),
    "layer1.0.conv1.weight": ("resnet50", {}),
    "features.0.0.weight": ("mobilenetv2", {}),
    "features.3.squeeze.weight": ("squeezenet", {}),
}


@dataclass(frozen=True, slots=True, eq=False)
class LoadedNetwork:
    """A network and what is known about it.

    Attributes:
        name: Short name for tables, folders and pictures.
        task: What it is for.
        network: In evaluation mode; or an exported file.
        architecture: Name and arguments that build the dense network.
        about: Plain values for records: kind, path, origin, license, parameters, sparsity.
        keeps_singles: Whether its authors keep, in box voting, what only one view found.
        cut: How a recognizer wants a face cut out.
        run: Folder of the run that it is the result of.
        trained_in: Folder of the run that trained it, whether it is the result or a checkpoint.
        recorded: What a slim network that stands alone tells about its figures.
    """

    name: str
    task: Task
    network: nn.Module | ExportedNetwork
    architecture: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    keeps_singles: bool = False
    cut: FaceCut | None = None
    run: Path | None = None
    trained_in: Path | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)


def load_network(path: str | Path, outputs: Path = Path("outputs")) -> LoadedNetwork:
    """Load a network.

    Args:
        path: Folder of a finished run, ``latest`` for the last one, a slim network, a checkpoint of
            a run, official, published or own weights, or a file that export.py wrote.
        outputs: Where ``latest`` is looked for.

    Raises:
        InputError: If there is nothing there, or it is damaged or unknown.
    """
    if str(path) == LATEST:
        path = latest_run(outputs)
        log.info("latest run: %s", path)
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give the folder of a finished run, weights or an exported file"
        )
    if is_exported(path):
        return _of_exported(path)
    if is_slim(path):
        return _of_slim(path if path.is_dir() else path.parent)
    if path.is_dir() and (path / "config.yaml").is_file():
        raise InputError(
            f"{path} has not finished, so it holds no {SPECIFICATION}: the same train.py command "
            "goes on with it, and its checkpoints/last.ckpt can be loaded"
        )
    if path.is_dir() and not any(path.glob("*.pth")):
        raise InputError(
            f"{path} holds no {SPECIFICATION}; give the folder of a finished run, or of the "
            "files of the official EResFD release"
        )
    return _of_weights(path)


def network_of(config: DictConfig) -> LoadedNetwork:
    """The network that ``run=`` or ``weights=`` of a configuration names; both take anything.

    Raises:
        InputError: If not exactly one of them is given, or there is no network.
    """
    given = [config[key] for key in ("run", "weights") if config[key] is not None]
    if len(given) != 1:
        raise InputError(
            "say which network, as one of run=FOLDER (or run=latest) and weights=FILE, "
            f"got {'both' if given else 'neither'}"
        )
    return load_network(str(given[0]), Path(str(config.paths.outputs)))


def with_latest_run(config: DictConfig) -> DictConfig:
    """The configuration with the folder of the last finished run in place of ``run=latest``."""
    if config.run != LATEST:
        return config
    config = config.copy()
    config.run = str(latest_run(Path(str(config.paths.outputs))))
    log.info("latest run: %s", config.run)
    return config


def run_name(folder: Path) -> str:
    """Name of a run, or of a step of one: ``outputs/NAME/STAMP`` is known as ``NAME``.

    A job of a sweep, whose folder is a number, is called after the sweep: ``SWEEP-3``.
    """
    folder = folder.resolve()
    if folder.name.isdecimal() and folder.parent.name != "steps":
        return f"{folder.parent.name}-{folder.name}"
    if folder.parent.name == "steps":
        return f"{run_name(folder.parents[1])} step {folder.name}"
    return folder.parent.name if folder.name[:2] == "20" else folder.name


def _of_exported(path: Path) -> LoadedNetwork:
    """An exported file."""
    network = open_exported(path)
    described = network.description
    about = {
        "kind": "exported",
        "path": str(path),
        "model": str(described.architecture.get("name")),
        "backend": described.format,
        "quantization": described.quantization,
        **{key: described.figures[key] for key in ("parameters",) if key in described.figures},
        **described.provenance,
    }
    return LoadedNetwork(
        described.name,
        described.task,
        network,
        described.architecture,
        about,
        keeps_singles=keeps_singles(described.provenance.get("origin")),
        cut=described.cut,
    )


def _of_slim(folder: Path) -> LoadedNetwork:
    """The slim network of a run, or one that stands alone."""
    network = load_slim(folder, builders())
    architecture = read_slim_architecture(folder)
    is_run = (folder / "config.yaml").is_file()
    config = read_config(folder) if is_run else None
    recorded = read_about(folder)
    about: dict[str, Any] = {"kind": "run", "path": str(folder), "model": architecture["name"]}
    about |= {key: recorded.pop(key) for key in ("origin", "licence") if key in recorded}
    if config is not None:
        about |= origin_of_start(config)
    run = folder if is_run else None
    loaded = _loaded(run_name(folder), network, architecture, about, config, run)
    return replace(loaded, recorded=recorded)


def _of_weights(path: Path) -> LoadedNetwork:
    """Weights, or a checkpoint of a run."""
    state = read_weights(path)
    about: dict[str, Any] = {"kind": "weights", "path": str(path)}
    run, config = None, None
    around, is_checkpoint = path.parent, path.suffix == ".ckpt"
    if is_checkpoint and around.name == "checkpoints" and (around.parent / "config.yaml").is_file():
        run = around.parent
        config = read_config(run)
    own = read_architecture(path)
    if own is None and config is not None:
        own = _architecture_of_config(config, path.parent.parent / "config.yaml")
    known = identify(state)
    if own is None and known is not None:
        own = {"name": known.model, "arguments": dict(known.arguments)}
    if own is None:
        names = [name.removeprefix("network.") for name in state]
        found = next((f for sign, f in _RECOGNIZER_SIGNS.items() if sign in names), None)
        if found is None:
            raise InputError(
                f"{path} belongs to no network of this project (eresfd, extd, yunet, squeezenet, "
                "mobilenet_v2, mobilefacenet, resnet50, iresnet): give the folder of a finished "
                "run, or other weights"
            )
        own = {"name": found[0], "arguments": dict(found[1])}
    builder = find_builder(builders(), own["name"], path)
    try:
        network = build_described(builder, own["arguments"])
    except ValueError as error:
        raise InputError(
            f"{path} does not fit {own['name']} ({error}): give the folder of a finished run, or "
            "other weights"
        ) from error
    (load_weights if is_detector(network) else recognizer_weights.load_weights)(
        network, state, str(path)
    )
    if known is not None and known.model == own["name"]:
        about |= {"origin": known.origin, "licence": known.licence, "arguments": known.arguments}
    about["model"] = own["name"]
    name = path.name.partition(".")[0]
    if run is not None and config is not None:
        name, about["kind"] = f"{run_name(run)}-{name}", "checkpoint"
        about.pop("licence", None)
        about |= origin_of_start(config)
    loaded = _loaded(name, network, own, about, config, None)
    return replace(loaded, trained_in=run)


def _loaded(
    name: str,
    network: nn.Module,
    architecture: Mapping[str, Any],
    about: Mapping[str, Any],
    config: Values | None,
    run: Path | None,
) -> LoadedNetwork:
    """A network of PyTorch in evaluation mode, with its counts."""
    finds = is_detector(network)
    return LoadedNetwork(
        name,
        "detection" if finds else "recognition",
        network.eval(),
        architecture,
        {**about, **count(network)},
        keeps_singles=about["kind"] == "weights" and keeps_singles(about.get("origin")),
        cut=None if finds else _cut(config, run),
        run=run,
        trained_in=run,
    )


def count(network: nn.Module) -> dict[str, Any]:
    """Parameters of a network, those that are not zero, and the share of those that are.

    Of an exported file, whose weights are out of sight, what its description says.
    """
    if isinstance(network, ExportedRecognizer):
        figures = network.exported.description.figures
        return {key: figures[key] for key in ("parameters",) if key in figures}
    parameters, nonzero = count_parameters(network), count_nonzero(network)
    return {
        "parameters": parameters,
        "nonzero_parameters": nonzero,
        "sparsity": (parameters - nonzero) / max(1, parameters),
    }


def _cut(config: Values | None, run: Path | None) -> FaceCut:
    """How the pictures of a run were cut; as published where there is no run."""
    config = config or {}
    size = int(value_at(config, "data.input_size", _RECOGNIZER_SIZE))
    square = SquareCut(size, value_at(config, "data.shorter_side"))
    return FaceCut(
        shorter_side=square.side,
        side=size,
        center=float(value_at(config, "data.centre", 1.0)),
        flip=bool(value_at(config, "model.lightning.flip", False)),
        thresholds={} if run is None else thresholds_of_run(run),
    )


def keeps_singles(origin: object) -> bool:
    """Whether the authors of weights keep, in box voting, what only one view found."""
    return str(origin).endswith(_KEEPS_SINGLES)


def _architecture_of_config(config: Values, path: Path) -> dict[str, Any]:
    """Name and arguments of the network of a run."""
    node = saved_model(config, path).network
    arguments = {str(key): value for key, value in node.items() if key != "_target_"}
    return {"name": str(node["_target_"]).rpartition(".")[2].lower(), "arguments": arguments}


def origin_of_start(config: Mapping[str, Any]) -> dict[str, Any]:
    """Where the weights that a run started from come from, if they are known."""
    start = value_at(config, "weights")
    if start is None:
        return {"origin": "trained from scratch"}
    path = Path(str(start))
    if is_slim(path):
        licence = {k: v for k, v in read_about(path).items() if k == "licence"}
        return {"origin": f"started from {path.name}", **licence}
    try:
        known = identify(read_weights(path))
    except InputError:  # moved since; the run says what it was called
        known = None
    if known is None:
        return {"origin": f"started from {path.name}"}
    return {"origin": f"started from {known.origin}", "licence": known.licence}


def figures_of(loaded: LoadedNetwork) -> dict[str, Any]:
    """Figures that travel with an exported file: of the run, or else the counts alone."""
    if isinstance(loaded.network, ExportedNetwork):
        return dict(loaded.network.description.figures)
    counts = {key: loaded.about[key] for key in ("parameters", "sparsity") if key in loaded.about}
    if loaded.run is not None:
        return counts | read_summary(loaded.run)
    if loaded.trained_in is not None:  # a checkpoint, which the figures of the run are not about
        config = read_config(loaded.trained_in)
        named = {
            "data": value_at(config, "data.name"),
            "input_size": value_at(config, "data.input_size"),
        }
        counts |= {key: value for key, value in named.items() if value is not None}
    return counts | dict(loaded.recorded)

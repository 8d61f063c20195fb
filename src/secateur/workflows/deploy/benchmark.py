"""Time networks and backends in turn: the forward alone, and from a JPEG to faces."""

from __future__ import annotations

import logging
import multiprocessing
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from PIL import Image
from torch import nn

from secateur.cost.latency import machine_name
from secateur.cost.memory import peak_memory_mb
from secateur.cost.timing import Timing, time_calls
from secateur.data.images import decode_image
from secateur.deploy.conversion import converted
from secateur.deploy.exported import ExportedNetwork, open_exported
from secateur.deploy.face_detector import FaceDetector
from secateur.deploy.pixels import preprocess
from secateur.errors import InputError
from secateur.files import write_json
from secateur.readers import read_bytes
from secateur.reports import tables
from secateur.reports.latency_plot import plot_latency
from secateur.runtime.allocator import keep_large_blocks
from secateur.runtime.fusion import fuse
from secateur.runtime.opencv_messages import silent_opencv
from secateur.runtime.threads import use_threads
from secateur.workflows.deploy.describing import describe, exportable
from secateur.workflows.deploy.output_folder import output_folder, writable
from secateur.workflows.load import as_detector, as_embedder
from secateur.workflows.loading import LoadedNetwork, load_network

log = logging.getLogger(__name__)

Call = Callable[[], object]
Pixels = NDArray[np.uint8]

BACKENDS = ("eager", "fused", "onnx")
_JPEG_QUALITY = 90
_BUSY = 1.3  # wall over processor time, which is at most 1 where nothing else runs
_MIN_SCORE = 0.5  # as detect.py asks for


def benchmark(config: DictConfig) -> dict[str, Timing]:
    """Time what the configuration names.

    Args:
        config: Composed ``conf/benchmark.yaml``.

    Returns:
        Times by name of the form.

    Raises:
        InputError: If there is no network, backend or picture of that name.
    """
    keep_large_blocks()
    loaded = _networks(config)
    use_threads(int(config.threads))
    with writable(output_folder(config, "benchmark")) as folder:
        results = _timed(config, loaded)
        memory = _peak_memory(config, loaded) if config.memory else {}
        _write(config, folder, results, memory)
    _print(results, memory)
    log.info("written to %s", folder)
    return results


def _timed(config: DictConfig, loaded: list[LoadedNetwork]) -> dict[str, Timing]:
    """Times of all forms at all sizes."""
    results: dict[str, Timing] = {}
    names = told_apart(loaded)
    options = {
        "runs": int(config.runs),
        "warmup": int(config.warmup),
        "max_seconds": float(config.max_seconds),
    }
    for height, width in config.sizes:
        pixels = _picture(config, int(height), int(width))
        jpeg = _jpeg(pixels)
        calls: dict[str, Call] = {}
        for name, network in zip(names, loaded, strict=True):
            side = None if network.cut is None else network.cut.side
            size = f"{side}x{side}" if side else f"{width}x{height}"
            found = _forwards(config, name, network, pixels)
            if config.end_to_end and network.task == "detection":
                found |= _end_to_end(config, name, network, jpeg)
            calls |= {f"{size} · {form}": call for form, call in found.items()}
        if config.yunet is not None:
            form = f"{width}x{height} · YuNet · cv2.FaceDetectorYN · JPEG to faces"
            calls[form] = _opencv(config, jpeg, pixels)
        results |= time_calls(calls, **options)  # type: ignore[arg-type]
    return results


def _networks(config: DictConfig) -> list[LoadedNetwork]:
    """The networks to time."""
    wanted = [config[key] for key in ("run", "weights") if config[key] is not None]
    wanted += list(config.networks)
    if not wanted:
        raise InputError("say what to time, as run=FOLDER, weights=FILE or networks=[ONE,OTHER]")
    unknown = [name for name in config.backends if name not in BACKENDS]
    if unknown:
        raise InputError(f"backend {unknown[0]} does not exist; choose from {', '.join(BACKENDS)}")
    outputs = Path(str(config.paths.outputs))
    return [load_network(str(path), outputs) for path in wanted]


def told_apart(networks: Sequence[LoadedNetwork]) -> list[str]:
    """A name of each network that no two share: a run and a file made of it have the same one.

    Args:
        networks: In the order that was asked for.

    Returns:
        Their names; of several with one name, files have theirs behind it, and then all their path.
    """
    paths = [Path(str(network.about["path"])) for network in networks]
    names = [network.name for network in networks]
    for parts in ([path.name if path.is_file() else "" for path in paths], map(str, paths)):
        counts = Counter(names)
        names = [
            f"{network.name} · {part}" if part and counts[name] > 1 else name
            for network, name, part in zip(networks, names, parts, strict=True)
        ]
    return names


def _picture(config: DictConfig, height: int, width: int) -> Pixels:
    """The picture of ``source=`` at a size, or one of soft noise, as large as a photograph."""
    if config.source is not None:
        path = Path(str(config.source))
        content = read_bytes(path, "give a picture as source=", limit=1 << 28)
        pixels = decode_image(content, str(path))
    else:
        sides = (max(1, height // 8), max(1, width // 8), 3)
        coarse = np.random.default_rng(0).integers(0, 256, sides, np.uint8)
        pixels = np.asarray(coarse, dtype=np.uint8)
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def _jpeg(pixels: Pixels) -> bytes:
    """A picture as the bytes of a JPEG."""
    done, content = cv2.imencode(
        ".jpg",
        np.ascontiguousarray(pixels[..., ::-1]),
        [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
    )
    assert done
    return bytes(content.tobytes())


def _forwards(
    config: DictConfig, name: str, loaded: LoadedNetwork, pixels: Pixels
) -> dict[str, Call]:
    """The forward alone, by every backend."""
    threads = int(config.threads)
    if isinstance(loaded.network, ExportedNetwork):
        exported = open_exported(loaded.network.path, threads)
        kind = exported.description.quantization
        name = f"{name} · {exported.description.format}" + ("" if kind == "none" else f" {kind}")
        return {f"{name} · forward": _of_file(exported, _shown(loaded, pixels), config)}
    description = describe(loaded, "onnx")
    images = preprocess(_shown(loaded, pixels), description.pixels)
    images = images.repeat(int(config.batch_size), 1, 1, 1)
    calls: dict[str, Call] = {}
    for backend in config.backends:
        if backend == "onnx":
            path = converted(loaded.network, description, lambda: exportable(loaded, description))
            session, array = open_exported(path, threads), images.numpy()
            calls[f"{name} · onnx · forward"] = _run(session, array)
        else:
            network = fuse(loaded.network) if backend == "fused" else loaded.network
            calls[f"{name} · {backend} · forward"] = _forward(network, images)
    return calls


def _shown(loaded: LoadedNetwork, pixels: Pixels) -> Pixels:
    """What a network is shown: a recognizer takes a square of its own size."""
    if loaded.cut is None:
        return pixels
    side = loaded.cut.side
    return np.asarray(cv2.resize(pixels, (side, side)), dtype=np.uint8)


def _of_file(exported: ExportedNetwork, pixels: Pixels, config: DictConfig) -> Call:
    """The forward of an exported file on a batch."""
    wanted = exported.description.pixels
    if wanted.type == "uint8":
        array: NDArray[Any] = pixels[None]
    else:
        array = preprocess(pixels, wanted).numpy()
    return _run(exported, np.repeat(array, int(config.batch_size), axis=0))


def _run(exported: ExportedNetwork, array: NDArray[Any]) -> Call:
    return lambda: exported.run(array)


def _forward(network: nn.Module, images: torch.Tensor) -> Call:
    """The forward of a network of PyTorch, channels last as detect.py runs it."""
    network = network.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)

    def call() -> object:
        with torch.inference_mode():
            return network(images)

    return call


def _end_to_end(
    config: DictConfig, name: str, loaded: LoadedNetwork, jpeg: bytes
) -> dict[str, Call]:
    """From the bytes of a JPEG to faces, by every backend."""
    if isinstance(loaded.network, ExportedNetwork):
        detector = as_detector(loaded, threads=int(config.threads))
        kind = loaded.network.description.quantization
        name = f"{name} · {detector.backend}" + ("" if kind == "none" else f" {kind}")
        return {f"{name} · JPEG to faces": _faces(detector, jpeg)}
    calls = {}
    for backend in config.backends:
        if backend == "eager":
            continue  # detect.py never runs a network unfused
        runs = "torch" if backend == "fused" else str(backend)
        detector = as_detector(loaded, backend=runs, threads=int(config.threads))
        calls[f"{name} · {backend} · JPEG to faces"] = _faces(detector, jpeg)
    return calls


def _faces(detector: FaceDetector, jpeg: bytes) -> Call:
    looks = detector.protocol("single")
    return lambda: detector.detect(decode_image(jpeg, "the picture"), looks, _MIN_SCORE)


def _opencv(config: DictConfig, jpeg: bytes, pixels: Pixels) -> Call:
    """YuNet as OpenCV runs it, decoding included."""
    path = Path(str(config.yunet))
    if not path.is_file():
        raise InputError(f"yunet={path} is no file; give the ONNX file of YuNet, or leave it out")
    try:
        with silent_opencv():
            detector = cv2.FaceDetectorYN.create(str(path), "", (pixels.shape[1], pixels.shape[0]))
    except cv2.error as error:
        raise InputError(f"yunet={path} is nothing that OpenCV takes for YuNet") from error
    content = np.frombuffer(jpeg, np.uint8)
    return lambda: detector.detect(np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR)))


def _peak_memory(config: DictConfig, loaded: Sequence[LoadedNetwork]) -> dict[str, float]:
    """Peak memory in MB of every network and backend, each in a process of its own."""
    height, width = config.sizes[0]
    found: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    for name, network in zip(told_apart(loaded), loaded, strict=True):
        exported = isinstance(network.network, ExportedNetwork)  # what runs it is up to the file
        for backend in ["as it is"] if exported else config.backends:
            arguments = (str(network.about["path"]), str(backend), int(height), int(width))
            with context.Pool(1) as pool:
                found[f"{name} · {backend}"] = pool.apply(_peak_of, arguments)
    return found


def _peak_of(path: str, backend: str, height: int, width: int) -> float:
    """Peak memory in MB of this process after three forwards of one picture."""
    loaded = load_network(path)
    runs = backend if backend == "onnx" else "torch"
    pixels = np.asarray(Image.new("RGB", (width, height), "gray"), dtype=np.uint8)
    make = as_detector if loaded.task == "detection" else as_embedder
    answer = make(loaded, backend=runs, threads=1)
    for _ in range(3):
        answer(pixels)
    return peak_memory_mb()


def _write(
    config: DictConfig,
    folder: Path,
    results: Mapping[str, Timing],
    memory: Mapping[str, float],
) -> None:
    """JSON and plot."""
    record = {
        "machine": machine_name(),
        "threads": int(config.threads),
        "batch_size": int(config.batch_size),
        "milliseconds": {name: dict(timing.wall) for name, timing in results.items()},
        "processor_milliseconds": {name: timing.processor for name, timing in results.items()},
        "runs": {name: timing.runs for name, timing in results.items()},
        "peak_memory_mb": dict(memory),
    }
    write_json(folder / "benchmark.json", record)
    plot_latency(folder / "benchmark.png", {name: dict(t.wall) for name, t in results.items()})


def busy(results: Mapping[str, Timing]) -> str | None:
    """What to say where other programs take much of the processor; None where they do not.

    Args:
        results: Times by name.
    """
    waited = statistics.median(t.wall["median"] / max(t.processor, 1e-9) for t in results.values())
    if waited < _BUSY:
        return None
    return (
        f"the machine is busy: calls took {waited:.1f} times as long as they computed; compare "
        "processor times, or run it again when other programs are done"
    )


def _print(results: Mapping[str, Timing], memory: Mapping[str, float]) -> None:
    """The table: the first form is what the others relate to."""
    first = next(iter(results.values())).wall["median"]
    rows = [
        [
            name,
            f"{timing.wall['median']:.2f}",
            f"{timing.wall['p10']:.2f} .. {timing.wall['p90']:.2f}",
            f"{timing.processor:.2f}",
            f"{timing.per_second:.1f}",
            f"{timing.wall['median'] / first:.2f}",
        ]
        for name, timing in results.items()
    ]
    header = ["", "median ms", "p10 .. p90", "processor ms", "per second", "to the first"]
    tables.print_table("Latency", header, rows, caption=busy(results))
    if memory:
        rows = [[name, f"{value:.0f}"] for name, value in memory.items()]
        tables.print_table("Peak memory of the process", ["", "MB"], rows)

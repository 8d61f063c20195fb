from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.cost.timing import Timing
from secateur.workflows.deploy.benchmark import busy, told_apart
from secateur.workflows.loading import LoadedNetwork


def timing(median: float, processor: float) -> Timing:
    return Timing({"p10": median, "median": median, "p90": median}, processor, 5)


def test_a_busy_machine_is_told() -> None:
    results = {"a": timing(20, 10), "b": timing(45, 20), "c": timing(30, 15)}
    assert str(busy(results)).startswith("the machine is busy: calls took 2.0 times as long as")


def test_a_quiet_machine_and_several_threads_are_nothing_to_tell_of() -> None:
    assert busy({"a": timing(10, 9.8), "b": timing(10, 20), "c": timing(10, 0)}) is None


def network(name: str, path: str) -> LoadedNetwork:
    return LoadedNetwork(name, "detection", nn.Identity(), {}, {"path": path})


def test_networks_of_one_name_have_rows_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
    (tmp_path / "a" / "faces.onnx").touch()
    networks = [
        network("run", str(tmp_path)),
        network("other", "other.pth"),
        network("run", f"{tmp_path}/a/faces.onnx"),
        network("run", f"{tmp_path}/a/model.onnx"),
        network("run", f"{tmp_path}/b/model.onnx"),
    ]
    assert told_apart(networks) == [
        "run",
        "other",
        "run · faces.onnx",
        f"run · {tmp_path}/a/model.onnx",
        f"run · {tmp_path}/b/model.onnx",
    ]

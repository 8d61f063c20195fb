"""A saved configuration is data: names and values come from it, nothing that executes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur.errors import InputError
from secateur.workflows.config.saved_config import read_saved_config, saved_data, saved_model

GOOD: dict[str, Any] = {
    "model": {
        "name": "eresfd",
        "task": "detection",
        "network": {"topology": "standard", "anchor_ratio": 1.0},
        "groups": "released",
    },
    "data": {"name": "demo_faces", "monitor": "val/ap_hard", "mode": "max", "n_train": 8},
    "optimizer": {"lr": 0.001},
    "seed": 0,
}


def saved(folder: Path, change: dict[str, Any]) -> Path:
    values = yaml.safe_load(yaml.safe_dump(GOOD))
    for key, value in change.items():
        node = values
        *parents, last = key.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.drawing_seed._target_", "torch.load"),
        ("data._target_", "pathlib.Path.unlink"),
        ("optimizer._target_", "os.system"),
        ("data._args_", ["/tmp/x"]),
        ("model.network._partial_", "yes"),
        ("data._recursive_", False),
        ("data._convert_", "all"),
        ("data.root", "${oc.env:HOME}"),
        ("anything.deep.in.it", "${oc.decode:1}"),
    ],
)
def test_what_would_execute_or_look_up_is_refused_with_its_key(
    tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        read_saved_config(saved(tmp_path, {key: value}))


def test_targets_that_older_runs_saved_are_passed_over(tmp_path: Path) -> None:
    change = {
        "data._target_": "datamodules.demo_faces.DemoFacesData",
        "optimizer._target_": "torch.optim.Adam",
        "optimizer._partial_": True,
    }
    assert read_saved_config(saved(tmp_path, change)) == GOOD


def test_objects_come_from_the_installed_configuration(tmp_path: Path) -> None:
    path = saved(tmp_path, {"data.augmentation": {"flip": 0.5}})
    values = read_saved_config(path)
    data = saved_data(values, path)
    assert data["_target_"] == "secateur.datamodules.demo_faces.DemoFacesData"
    assert data.n_train == 8
    assert saved_model(values, path).network["_target_"] == "secateur.detectors.eresfd.EResFD"


def read_both(values: dict[str, Any], path: Path) -> None:
    saved_data(values, path)
    saved_model(values, path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.name", "../../etc", r"data\.name='../../etc' is not installed here"),
        ("data.n_train", "many", r"data\.n_train must be a whole number, got 'many'"),
        ("data.no_such_setting", 1, r"data\.no_such_setting is no setting of data"),
        ("model.network.topology", ["a"], r"model\.network\.topology must be a text"),
    ],
)
def test_values_that_do_not_fit_are_named(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = saved(tmp_path, {key: value})
    values = read_saved_config(path)
    with pytest.raises(InputError, match=message):
        read_both(values, path)


def test_nothing_is_downloaded_or_drawn_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "drawn.json").write_text("{}")
    for name, kept in (
        ("elsewhere", False),
        ("empty", False),
        ("drawn", True),
        ("x" * 9000, False),
    ):
        path = saved(tmp_path, {"data.root": str(tmp_path / name)})
        found = saved_data(read_saved_config(path), path).root
        assert (found == str(tmp_path / name)) == kept
    path = saved(tmp_path, {"data": {"name": "widerface", "download": True}})
    assert saved_data(read_saved_config(path), path).download is False


def test_yaml_that_grows_or_never_ends_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [1, 1]\nb: &b [*a, *a]\n")
    with pytest.raises(InputError, match=r"line 2, is not valid YAML \(aliases"):
        read_saved_config(path)
    path.write_text("[" * 3000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_saved_config(path)
    path.write_text("a: 1\na: 2\n")
    with pytest.raises(InputError, match="twice"):
        read_saved_config(path)

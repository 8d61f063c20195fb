"""Files that the code before the great move wrote are read as before and give the same figures.

They lie in tests/fixtures/first_house, whose README says how they were made. Figures are compared
with a tolerance, because another processor adds in another order: sizes exactly, losses of a search
to one part in a thousand, losses of a training to two in a hundred (steps multiply what differs:
0.8 parts in a hundred were seen without vector instructions), average precision to 0.005, since it
counts ranks of detections nearly alike. On the machine that made them all digits are the same.
"""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import callbacks
from secateur.pruning.artifact import load_slim
from secateur.weights.architectures import BUILDERS
from secateur.workflows.config.pruning_config import group_rates

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "first_house"
LOSS, TRAINING_LOSS, PRECISION = 1e-3, 2e-2, 5e-3

Command = Callable[..., None]

# What made the unfinished run and the unfinished search, and makes them go on.
RUN = (
    "model=extd_32 pruning=taylor rate=0.5 optimizer=sgd optimizer.lr=1e-4 optimizer.momentum=0 "
    "trainer=cpu trainer.gradient_clip_val=10 trainer.enable_progress_bar=false "
    "paths.data=data data.n_train=16 data.n_val=4 data.input_size=64 data.batch_size=4 "
    "data.eval_batch_size=4 data.num_workers=0 "
    "phases.dense_epochs=1 phases.prune_epochs=2 phases.finetune_epochs=1 "
    "output_dir=unfinished_run"
)
SEARCH = (
    "model=extd_32 weights=unfinished_run/checkpoints/dense.safetensors debug=search "
    "target.sparsity=0.3 "
    "paths.data=data data.n_train=16 data.n_val=4 data.num_workers=0 n_trials=6 "
    "output_dir=unfinished_search"
)

# Saved configuration -> the command that it is the configuration of.
COMMANDS = {
    "train_eresfd": "train.py",
    "train_eresfd_weights": "train.py pruning=l1 rate=0.5 weights=official.pth recover=none "
    "data=widerface data.root=WIDER",
    "train_eresfd_rates": "train.py rate=0 rates=rates.yaml",
    "train_eresfd_group_rate": "train.py rates.g2=0.5 pruning.schedule=gradual",
    "train_extd_target": "train.py model=extd_64 pruning=batchnorm target.macs=0.5 "
    "pruning.scope=coupled pruning.align=8",
    "train_squeezenet": "train.py model=squeezenet pruning=taylor phases=published",
    "train_mobilenet_v2": "train.py model=mobilenet_v2 pruning=random optimizer=sgd "
    "scheduler=steps",
    "train_resnet50": "train.py model=resnet50 pruning=none data=lfw data.root=LFW",
    "search_eresfd": "search.py weights=official.pth target.sparsity=0.3",
    "search_extd_published": "search.py model=extd_64 weights=dense.pth space=published "
    "target.sparsity=0.2",
    "search_squeezenet_macs": "search.py model=squeezenet weights=best.ckpt "
    "pruning.scope=coupled target.macs=0.6",
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run an entry point in this process, within a folder that has a copy of the fixtures."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)  # the paths in the configurations are relative
    monkeypatch.delenv("SECATEUR_DATA", raising=False)

    def command(program: str, *settings: str) -> None:
        monkeypatch.setattr(sys, "argv", [str(ROOT / program), *settings])
        runpy.run_path(str(ROOT / program), run_name="__main__")

    return command


def golden(name: str) -> Any:
    return json.loads((FIXTURES / "golden" / f"{name}.json").read_text())


def test_finished_run_evaluates_to_the_same_figures(run: Command) -> None:
    run(
        *("evaluate.py", "run=finished_run", "save_predictions=true", "page_pictures=0"),
        *("trainer=cpu", "trainer.enable_progress_bar=false", "output_dir=out"),
    )
    expected, record = golden("finished_run"), json.loads(Path("out/evaluation.json").read_text())
    assert record["parameters"] == expected["parameters"]
    assert record["ap"] == pytest.approx(expected["ap"], abs=PRECISION)
    for picture, faces in expected["pictures"].items():
        lines = Path(f"out/predictions/0--Drawn_Faces/{picture}.txt").read_text().splitlines()
        boxes = [[float(value) for value in line.split()] for line in lines[2:]]
        assert len(boxes) == pytest.approx(faces["boxes"], abs=2)
        for box in faces["first"]:  # x, y, width, height in pixels, score
            assert any(found == pytest.approx(box, abs=0.11) for found in boxes), (picture, box)


def test_finished_run_is_not_trained_again(run: Command) -> None:
    """The same command, in the words of its configuration, finds it finished."""
    before = {path: path.read_bytes() for path in Path("finished_run").iterdir()}
    run(
        *("train.py", "model=eresfd", "pruning=fpgm", "rate=0.7", "pruning.scope=coupled"),
        *("trainer=cpu", "trainer.enable_progress_bar=false", "paths.data=data_faces"),
        *("data.n_train=64", "data.n_val=4", "data.input_size=160", "data.batch_size=8"),
        *("data.eval_batch_size=4", "data.num_workers=0", "output_dir=finished_run"),
        *("phases.dense_epochs=14", "phases.prune_epochs=2", "phases.finetune_epochs=6"),
    )
    assert all(path.read_bytes() == content for path, content in before.items())


def test_checkpoint_of_an_unfinished_run_evaluates_to_the_same_figures(run: Command) -> None:
    run(
        *("evaluate.py", "model=extd_32", "weights=unfinished_run/checkpoints/last.ckpt"),
        *("data=demo_faces", "data.n_train=16", "data.n_val=4", "data.num_workers=0"),
        *("paths.data=data", "trainer=cpu", "trainer.enable_progress_bar=false"),
        *("save_predictions=true", "page_pictures=0", "output_dir=out"),
    )
    expected = golden("unfinished_run")["checkpoint"]
    record = json.loads(Path("out/evaluation.json").read_text())
    assert record["parameters"] == expected["parameters"]
    assert record["nonzero_parameters"] == expected["nonzero_parameters"]
    assert record["ap"] == pytest.approx(expected["ap"], abs=PRECISION)
    for picture, box in expected["first_box"].items():
        lines = Path(f"out/predictions/0--Drawn_Faces/{picture}.txt").read_text().splitlines()
        found = [[float(value) for value in line.split()] for line in lines[2:5]]
        assert any(near == pytest.approx(box, abs=0.11) for near in found), picture


def test_checkpoint_names_callbacks_that_exist() -> None:
    """A callback finds its state by the name of its class: another name would lose it silently."""
    path = FIXTURES / "unfinished_run" / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)["callbacks"]
    found = (module.name for module in iter_modules(callbacks.__path__))
    modules = [import_module(f"callbacks.{name}") for name in found]
    names = {name for module in modules for name in vars(module)} | {"ModelCheckpoint"}
    assert {key.partition("{")[0] for key in state} <= names
    assert len(state["SoftPruningCallback"]["keep"]) == 31
    assert set(state["TaylorStatisticsCallback"]["statistics"]) >= set(
        state["SoftPruningCallback"]["keep"]
    )


@pytest.mark.slow
def test_unfinished_run_resumes_to_the_same_figures(run: Command) -> None:
    run("train.py", *RUN.split(), "resume=auto", "callbacks.sample_pictures=null")
    expected = golden("unfinished_run")
    with Path("unfinished_run/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {(int(row["epoch"]), row["name"]): float(row["value"]) for row in rows}
    assert max(int(row["step"]) for row in rows) == 15
    for epoch, _, name, value in expected["metrics"]:
        if name.startswith("train/"):
            assert found[epoch, name] == pytest.approx(value, rel=TRAINING_LOSS), (epoch, name)
        else:
            assert found[epoch, name] == pytest.approx(value, abs=PRECISION), (epoch, name)
    summary = json.loads(Path("unfinished_run/summary.json").read_text())
    for name, value in expected["summary"].items():
        precise = not name.startswith("ap_")
        wanted = value if precise else pytest.approx(value, abs=PRECISION)
        assert summary[name] == wanted, name


def test_search_goes_on_to_the_same_rates(run: Command) -> None:
    """Its fourth trial was killed: its point is tried again, and two guided ones follow."""
    run("search.py", *SEARCH.split(), "stale_after=1")
    with Path("unfinished_search/trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = golden("unfinished_search")
    assert [row["state"] for row in rows] == [trial["state"] for trial in expected]
    for row, trial in zip(rows, expected, strict=True):
        if trial["state"] == "complete":
            rates = [float(row[f"rate_g{group}"]) for group in range(1, 6)]
            assert rates == pytest.approx(trial["rates"], abs=0.01)
            assert float(row["objective"]) == pytest.approx(trial["objective"], rel=LOSS)
            assert float(row["removed"]) == pytest.approx(trial["removed"], abs=1e-3)
    config = DictConfig({"rates": "rates.yaml", "model": {"name": "extd_32"}})
    before = group_rates(config)
    assert list(before) == ["g1", "g2", "g3", "g4", "g5"]
    config.rates = "unfinished_search/rates.yaml"
    assert group_rates(config) == pytest.approx(before, abs=0.01)


def pictures(size: int) -> torch.Tensor:
    """(2, 3, size, size) within -1..1, the same on every machine."""
    places = torch.arange(size, dtype=torch.float64)
    waves = [
        torch.sin(places[:, None] * (0.11 + 0.07 * k)) * torch.cos(places * (0.31 - 0.04 * k))
        for k in range(6)
    ]
    return torch.stack(waves).float().reshape(2, 3, size, size)


@pytest.mark.parametrize("name", ["mobilenetv2", "squeezenet"])
def test_slim_network_computes_the_same(name: str) -> None:
    """MobileNetV2 with its grouped layers; SqueezeNet with an identity and a scattered layer."""
    expected = golden("slim_networks")[name]
    network = load_slim(FIXTURES / "slim_networks" / name, BUILDERS)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected["parameters"]
    with torch.inference_mode():
        found = network(pictures(48))
    torch.testing.assert_close(
        found[:, ::40], torch.tensor(expected["every_40th"]), rtol=1e-4, atol=1e-4
    )
    assert found.mean().item() == pytest.approx(expected["mean"], abs=1e-4)
    assert found.std().item() == pytest.approx(expected["std"], abs=1e-4)


def outcome(run: Command, command: str, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that is given the folder of a saved configuration.

    A training finds it finished; a search goes further, and misses its weights.
    """
    folder = Path("given") / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FIXTURES / "configs" / f"{name}.yaml", folder / "config.yaml")
    program, *settings = command.split()
    if program == "train.py":
        (folder / "summary.json").write_text("{}")
    code = 0
    try:
        run(program, *settings, "paths.data=data", f"output_dir={folder}")
    except SystemExit as error:
        code = int(error.code or 0)
    assert code in (0, 2)
    return capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_command_knows_its_saved_configuration(
    name: str, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else an unfinished run would be orphaned: resume=auto would begin anew."""
    said = outcome(run, COMMANDS[name], name, capsys)
    assert "another configuration" not in said
    if COMMANDS[name].startswith("search.py"):
        assert "weights" in said or ".pth" in said or ".ckpt" in said
    else:
        assert "error" not in said


@pytest.mark.parametrize("name", ["train_squeezenet", "search_squeezenet_macs"])
def test_other_settings_are_another_configuration(
    name: str, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    said = outcome(run, f"{COMMANDS[name]} seed=7", name, capsys)
    assert "another configuration" in said

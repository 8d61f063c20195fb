"""The four-step recipe: what reaches each step, what is skipped, what runs again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

from secateur.detectors.eresfd import EResFD
from secateur.errors import InputError
from secateur.workflows.pipeline import pipeline
from secateur.workflows.pipeline.pipeline import open_pipeline_folder
from secateur.workflows.train.command import train_command

CONF = Path(__file__).parents[3] / "conf"
RATES = {"g1": 0.1, "g2": 0.2}
STEPS = ["pretrain", "search", "prune", "finetune"]


def composed(tmp_path: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(
            "train",
            [
                *(
                    "experiment=bfpgm/pipeline",
                    "data=demo_faces",
                    "debug=fast",
                    "target.sparsity=0.3",
                ),
                *(f"paths.data={tmp_path}/data", f"output_dir={tmp_path}/run", "callbacks={}"),
                *("data.n_train=10", "data.n_val=2", "data.input_size=64", "data.batch_size=2"),
                *("data.num_workers=0", "holdout=0.4", "trainer=cpu"),
                *("trainer.enable_progress_bar=false", *overrides),
            ],
        )


class Recorder:
    """Takes the place of training and search: writes what they would leave, keeps what they got."""

    def __init__(self) -> None:
        self.configs: dict[str, DictConfig] = {}
        self.ran: list[str] = []
        self.dies_in: str | None = None

    def train(self, config: DictConfig) -> None:
        folder = self._start(config)
        (folder / "checkpoints").mkdir(exist_ok=True)
        for name in ("checkpoints/last.ckpt", "model.safetensors", "model.json"):
            (folder / name).write_text("")
        record = {"criterion": str(config.pruning.criterion), "schedule": "soft", "ap_hard": 0.5}
        self._write(folder, {**record, "ap_hard_start": 0.6, "ap_hard_masked": 0.4})

    def search(self, config: DictConfig) -> None:
        folder = self._start(config)
        OmegaConf.save(OmegaConf.create({"rates": RATES}), folder / "rates.yaml")
        trials = int(config.n_trials)
        self._write(folder, {"trials": trials, "best_objective": -1.0, "rates": RATES})

    def _start(self, config: DictConfig) -> Path:
        folder = Path(config.output_dir)
        if folder.name == self.dies_in:
            raise KeyboardInterrupt
        self.configs[folder.name] = config
        self.ran.append(folder.name)
        return folder

    def _write(self, folder: Path, record: dict[str, Any]) -> None:
        (folder / "summary.json").write_text(json.dumps(record))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(pipeline, "train", made.train)
    monkeypatch.setattr(pipeline, "search", made.search)
    return made


@pytest.fixture
def call(recorder: Recorder, tmp_path: Path) -> Callable[..., list[str]]:
    def run(*overrides: str) -> list[str]:
        """Run the recipe and return the steps that ran."""
        recorder.ran.clear()
        train_command(composed(tmp_path, *overrides))
        return list(recorder.ran)

    return run


def test_settings_reach_the_steps(
    call: Callable[..., list[str]], recorder: Recorder, tmp_path: Path
) -> None:
    assert call("model=extd_64", "seed=3", "n_workers=2", "n_trials=5", "search_size=96") == STEPS
    configs = recorder.configs
    assert all(config.model.name == "extd_64" for config in configs.values())
    assert all(config.data.n_train == 10 and config.seed == 3 for config in configs.values())
    phases = ("dense_epochs", "prune_epochs", "finetune_epochs")
    for name, epochs in (("pretrain", (1, 0, 0)), ("prune", (0, 1, 0)), ("finetune", (0, 0, 1))):
        assert tuple(configs[name].phases[phase] for phase in phases) == epochs
        assert "n_trials" not in configs[name]
        assert configs[name].data.input_size == 64
    assert configs["pretrain"].weights is None
    assert configs["pretrain"].pruning.criterion is None
    found = configs["search"]
    assert (found.n_workers, found.n_trials, found.target.sparsity) == (2, 5, 0.3)
    assert (found.data.input_size, found.data.holdout) == (96, 0.4)
    assert found.data.official_lists is False
    assert found.sampler.startup == 4  # of debug=fast
    last = tmp_path / "run" / "pretrain" / "checkpoints" / "last.ckpt"
    assert found.weights == configs["prune"].weights == str(last)
    assert configs["prune"].rates == configs["finetune"].rates == RATES
    assert configs["prune"].rate == 0.0
    assert configs["finetune"].weights == str(last.parents[2] / "prune/checkpoints/last.ckpt")
    assert configs["finetune"].scheduler.factors == {5: 0.1}
    assert configs["prune"].scheduler.factors == {}


def test_published_search_prunes_as_published(
    call: Callable[..., list[str]], recorder: Recorder
) -> None:
    call("space=published", "sampler=gp", "train_steps=epoch", "pruning=l1")
    for name in ("search", "prune"):
        assert recorder.configs[name].pruning.exclude == "none"
        assert recorder.configs[name].pruning.mask_batchnorm is False
        assert recorder.configs[name].pruning.criterion == "l1"
    assert recorder.configs["search"].space.kind == "published"
    assert recorder.configs["search"].train_steps == "epoch"


def test_published_settings_of_extd(call: Callable[..., list[str]], recorder: Recorder) -> None:
    call("experiment=bfpgm/pipeline_extd")
    rates = {name: recorder.configs[name].optimizer.lr for name in ("pretrain", "prune")}
    assert rates == {"pretrain": 1e-3, "prune": 1e-4}
    assert recorder.configs["search"].model.name == "extd_64"
    assert recorder.configs["search"].n_trials == 8


def test_second_call_runs_nothing(
    call: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call() == STEPS
    before = (tmp_path / "run" / "summary.json").read_bytes()
    capsys.readouterr()
    assert call() == []
    said = capsys.readouterr().out
    assert said.count("skipped") == 4
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
    summary = json.loads(before)
    assert summary["criterion"] == "fpgm"
    assert (summary["ap_hard_start"], summary["ap_hard"]) == (0.6, 0.5)
    assert summary["rates"] == RATES
    assert summary["search_how"] == "run"


@pytest.mark.parametrize(
    ("step", "whole"),
    [("pretrain", True), ("search", False), ("prune", True), ("finetune", False)],
)
def test_lost_result_is_made_again_with_what_depends_on_it(
    call: Callable[..., list[str]], tmp_path: Path, step: str, whole: bool
) -> None:
    call()
    folder = tmp_path / "run" / step
    if whole:
        shutil.rmtree(folder)
    else:
        (folder / ("rates.yaml" if step == "search" else "checkpoints/last.ckpt")).unlink()
    assert call() == STEPS[STEPS.index(step) :]
    assert call() == []


@pytest.mark.parametrize("step", ["search", "finetune"])
def test_killed_recipe_goes_on(
    call: Callable[..., list[str]], recorder: Recorder, step: str
) -> None:
    recorder.dies_in = step
    with pytest.raises(KeyboardInterrupt):
        call()
    recorder.dies_in = None
    assert call() == STEPS[STEPS.index(step) :]


def test_kill_after_an_early_step_ran_again(
    call: Callable[..., list[str]], recorder: Recorder, tmp_path: Path
) -> None:
    call()
    (tmp_path / "run" / "pretrain" / "summary.json").unlink()
    recorder.dies_in = "search"
    with pytest.raises(KeyboardInterrupt):
        call()
    recorder.dies_in = None
    # the other steps have all their files, but made from another network
    assert call() == STEPS[1:]


def test_more_trials_go_on_with_the_search(call: Callable[..., list[str]]) -> None:
    call()
    assert call("n_trials=20") == STEPS[1:]
    assert call("n_trials=10") == []


def test_given_weights_take_the_place_of_training(
    call: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        call(f"weights={path}")
    path.write_text("one")
    assert call(f"weights={path}") == STEPS[1:]
    assert "given" in capsys.readouterr().out
    assert call(f"weights={path}") == []
    path.write_text("two")
    assert call(f"weights={path}") == STEPS[1:]


def test_folder_has_a_fixed_name(tmp_path: Path) -> None:
    def folder(*overrides: str) -> Path:
        settings = ("output_dir=null", f"paths.outputs={tmp_path}", *overrides)
        return open_pipeline_folder(composed(tmp_path, *settings))

    first = folder()
    assert first.name.startswith("pipeline-eresfd-fpgm-sparsity0.3-demo_faces-seed0-")
    assert folder("n_workers=2", "n_trials=9") == first
    assert len({first, folder("seed=1"), folder("search_size=96"), folder("model=extd_64")}) == 4


def test_what_cannot_be(tmp_path: Path, recorder: Recorder) -> None:
    for override, message in (
        ("rate=0.3", "rate cannot be given"),
        ("rates.g2=0.3", r"rates\.g2 cannot be given"),
        ("rates=rates.yaml", "rates cannot be given"),
        ("target.sparsity=1.5", "above 0 and below 1"),
        ("target.macs=0.5", "set the others to null"),
        ("target=0.3", r"it is target\.sparsity=0\.3 now"),
        ("pruning=taylor", "pruning=taylor does not fit"),
        ("pruning=none", "pruning=none does not fit"),
        ("model=squeezenet", "detectors only"),
        ("trainer.devices=2", "one device"),
        ("phases.dense_epochs=0", "dense_epochs must be at least 1 or give weights"),
    ):
        with pytest.raises(InputError, match=message):
            train_command(composed(tmp_path, override))
    assert recorder.ran == []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["target=0.3"])
    with pytest.raises(InputError, match=r"it is target\.sparsity=0\.3 now"):
        train_command(config)


@pytest.mark.slow
def test_real_recipe_and_its_mask(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in EResFD().state_dict().items()}, weights)
    overrides = (f"weights={weights}", "n_trials=3")
    value = train_command(composed(tmp_path, *overrides))
    run = tmp_path / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert value == summary["ap_hard"]
    assert summary["trials"] == 3
    pruned, tuned = (
        torch.load(run / step / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for step in ("prune", "finetune")
    )
    zeros = {name: tensor == 0 for name, tensor in pruned.items() if tensor.ndim == 4}
    assert sum(int(mask.flatten(1).all(1).sum()) for mask in zeros.values()) > 100
    for name, mask in zeros.items():  # fine-tuning holds the mask of the step before
        assert torch.equal(mask.flatten(1).all(1), (tuned[name] == 0).flatten(1).all(1))
    slim = load_file(run / "finetune" / "model.safetensors")
    assert sum(tensor.numel() for tensor in slim.values()) > 0
    assert train_command(composed(tmp_path, *overrides)) == value

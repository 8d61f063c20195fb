"""What ``recover=`` means for a run: nothing, refitting alone, or refitting and a teacher."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from secateur.detectors.yunet import YuNet
from secateur.errors import InputError
from secateur.pruning.artifact import save_slim
from secateur.workflows.command_line.arguments import CONF
from secateur.workflows.train.recovery import (
    build_repair,
    build_teacher,
    reconstructs,
    recovers,
    resolve_recovery,
)


def resolved(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve_recovery(compose("train", list(overrides)))


@pytest.mark.parametrize(
    ("overrides", "refits", "learns"),
    [
        ((), True, False),
        (("recover=none",), False, False),
        (("pruning=none",), False, False),
        (("model=squeezenet", "weights=imagenet"), True, False),
        (("weights=official.pth",), True, True),
        (("weights=official.pth", "recover=none"), False, False),
        (("weights=official.pth", "recover.reconstruct=false"), False, True),
        (("weights=slim", "pruning=none"), False, False),
        (("weights=slim", "pruning=none", "recover.teacher=dense.pth"), False, True),
    ],
)
def test_runs_from_scratch_are_refitted_and_those_from_weights_learn_from_them(
    overrides: tuple[str, ...], refits: bool, learns: bool
) -> None:
    config = resolved(*overrides)
    assert reconstructs(config) is refits
    assert recovers(config) is learns


def test_what_is_taught_without_pruning_trains_all_epochs_of_recovery() -> None:
    config = resolved("weights=slim", "pruning=none", "recover.teacher=dense.pth", "phases=short")
    assert config.phases.dense_epochs == 10


@pytest.mark.parametrize(("criterion", "first"), [("taylor", False), ("l1", True)])
def test_what_scores_by_training_is_not_masked_before_it(criterion: str, first: bool) -> None:
    weights = ("weights=official.pth", f"pruning={criterion}")
    assert resolved(*weights, "phases.dense_epochs=0").pruning.mask_first is first
    assert resolved(*weights, "phases.dense_epochs=1").pruning.mask_first is True


def test_the_published_method_leaves_no_trace_in_the_configuration() -> None:
    """Else a run of recover=none would be another run than before there was anything to recover."""
    nothing = {"reconstruct": False, "distill": False}
    assert resolved("recover=none").recover == resolved("pruning=none").recover == nothing


def test_from_scratch_there_is_no_teacher_and_the_network_before_a_mask_is_matched() -> None:
    config = resolved()
    network = nn.Conv2d(3, 4, 1)
    data = SimpleNamespace(recovery_pictures=lambda count: torch.zeros(count, 3, 8, 8))
    repair = build_repair(config, network, data)
    assert repair is not None
    assert repair.refit
    assert repair.dense is None
    assert sum(len(batch) for batch in repair.pictures()) == config.recover.pictures
    assert build_teacher(config, network) is None


def test_small_pictures_of_a_recognizer_are_refitted_on_many_at_a_time() -> None:
    data = SimpleNamespace(recovery_pictures=lambda count: torch.zeros(count, 3, 48, 48))
    config = resolved("model=squeezenet", "weights=dense.safetensors")
    repair = build_repair(config, nn.Conv2d(3, 4, 1), data)
    assert repair is not None
    assert repair.refit
    assert repair.since == 2  # runs of recognizers were not refitted at first
    assert [len(batch) for batch in repair.pictures()] == [config.recover.pictures]


def test_weights_are_matched_with_a_copy_of_them() -> None:
    network = nn.Conv2d(3, 4, 1)
    data = SimpleNamespace(recovery_pictures=lambda count: torch.zeros(count, 3, 8, 8))
    repair = build_repair(resolved("weights=official.pth"), network, data)
    assert repair is not None
    assert repair.refit
    assert repair.dense is not None
    assert repair.dense is not network


@pytest.mark.parametrize("other", ["recover.distill=false", "recover=none", "pruning=none"])
@pytest.mark.parametrize("setting", ["unlabelled=[FOLDER]", "conventions.masked=presence"])
def test_pictures_that_only_a_teacher_makes_useful_are_refused_without_one(
    other: str, setting: str
) -> None:
    config = resolved("data=widerface", "weights=official.pth", f"++data.{setting}", other)
    key = re.split("[.=]", setting)[0]
    with pytest.raises(InputError, match=f"data.{key} needs a teacher"):
        build_teacher(config, nn.Conv2d(3, 4, 1))


def test_a_network_of_the_user_s_own_can_be_the_teacher(tmp_path: Path) -> None:
    own = f"{__name__}.OneConvolution"
    save_slim(tmp_path, OneConvolution(3), {"name": own, "arguments": {"width": 3}})
    config = resolved(
        *("data=widerface", "weights=official.pth", f"recover.teacher={tmp_path}"),
        f"model.network._target_={own}",
    )
    teacher = build_teacher(config, OneConvolution(4))
    assert isinstance(teacher, OneConvolution)
    assert teacher.layer.out_channels == 3


def test_weights_of_another_detector_can_be_the_teacher(reference: Path) -> None:
    weights = reference / "weights/yunet/libfacedetection_yunet_n.safetensors"
    config = resolved(
        *("model=yunet_s", "data=widerface", "weights=official.pth", f"recover.teacher={weights}")
    )
    teacher = build_teacher(config, nn.Conv2d(3, 4, 1))
    assert isinstance(teacher, YuNet)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 75_856


def own_recognizer(folder: Path, size: int) -> DictConfig:
    """A run that an ``Embedder`` of that many numbers, saved in the folder, teaches."""
    own = f"{__name__}.Embedder"
    save_slim(folder, Embedder(size), {"name": own, "arguments": {"size": size}})
    return resolved(
        *("model=squeezenet", "weights=official.pth", f"recover.teacher={folder}"),
        f"model.network._target_={own}",
    )


def test_a_detector_cannot_learn_from_a_recognizer(tmp_path: Path) -> None:
    own_recognizer(tmp_path, 4)
    config = resolved(
        *("data=widerface", "weights=official.pth", f"recover.teacher={tmp_path}"),
        f"model.network._target_={__name__}.Embedder",
    )
    with pytest.raises(InputError, match=r"recover\.teacher=.* is no detector: a teacher does"):
        build_teacher(config, OneConvolution())


def test_a_recognizer_learns_only_from_embeddings_as_large_as_its_own(tmp_path: Path) -> None:
    config = own_recognizer(tmp_path, 4)
    assert isinstance(build_teacher(config, Embedder(4)), Embedder)
    with pytest.raises(InputError, match="has embeddings of 4 numbers, those of squeezenet have 8"):
        build_teacher(config, Embedder(8))


def test_an_exported_file_cannot_teach(reference: Path) -> None:
    file = reference / "weights/peers/yunet_n_dynamic.onnx"
    config = resolved("data=widerface", "weights=official.pth", f"recover.teacher={file}")
    with pytest.raises(InputError, match="is an exported file, which cannot teach"):
        build_teacher(config, nn.Conv2d(3, 4, 1))


class OneConvolution(nn.Module):
    """A network that only its user's configuration knows."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, width, 1)

    def decode(self) -> None:
        """What makes it a detector."""


class Embedder(nn.Module):
    """A recognizer that only its user's configuration knows."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, size, 1)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.layer(faces).mean((2, 3))

"""The distilling task: what a batch teaches with and without teacher, labels and exact boxes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.data.mixed_faces import Teaching
from secateur.detectors.detection import Detector
from secateur.detectors.eresfd import EResFD
from secateur.detectors.yunet import YuNet
from secateur.recovery.detector_task import DistilledDetectorTask, speak_alike
from tests.recovery.conftest import Logged

FACES = [torch.tensor([[0.2, 0.2, 0.6, 0.7]]), torch.tensor([[0.1, 0.3, 0.4, 0.6]])]


class _Logged(Logged, DistilledDetectorTask):  # type: ignore[misc]  # log takes anything
    """The task outside of a Trainer."""


def network(kind: str = "yunet", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return YuNet(16, 16).eval() if kind == "yunet" else EResFD().eval()


def terms(
    student: nn.Module, teacher: nn.Module | None, teaching: Tensor | None = None, **options: Any
) -> dict[str, float]:
    """Terms of the loss of one batch, and its total."""
    task = _Logged(student, teacher, **options)
    task.train()
    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(2, 3, 64, 64, generator=generator)
    batch = (images, FACES) if teaching is None else (images, FACES, teaching)
    total = task.training_step(batch, 0)
    assert float(total.detach()) == pytest.approx(task.logged["loss"])
    total.backward()
    return task.logged


@pytest.mark.parametrize("kind", ["yunet", "eresfd"])
def test_a_student_equal_to_its_teacher_has_only_the_loss_of_labels(kind: str) -> None:
    student = network(kind)
    found = terms(student, copy.deepcopy(student))
    distilled = {name: value for name, value in found.items() if name.startswith("distilled_")}
    expected = {"location", "probability"}
    if kind == "yunet":
        expected = {"class", "objectness", "box", "landmark"}
    assert set(distilled) == {f"distilled_{name}" for name in expected}
    assert max(map(abs, distilled.values())) < 1e-6
    assert found["loss"] > 0


def test_a_teacher_without_landmarks_teaches_the_rest() -> None:
    torch.manual_seed(1)
    found = terms(network(), YuNet(16, 16, landmarks=False).eval(), labels=0.0)
    assert set(found) == {"loss", "distilled_class", "distilled_objectness", "distilled_box"}


def test_boxes_of_another_convention_teach_only_where_faces_are() -> None:
    presence = torch.tensor([Teaching.PRESENCE, Teaching.PRESENCE])
    found = terms(network(), None, presence)
    assert found["class"] == found["box"] == found["landmark"] == 0
    assert found["objectness"] > 0
    mixed, alone = (
        terms(network(), None, torch.tensor([Teaching.BOXES, other]), picture_share=0.0)
        for other in (Teaching.PRESENCE, Teaching.TEACHER)
    )
    assert mixed["box"] == pytest.approx(alone["box"])
    assert mixed["objectness"] > alone["objectness"]


def test_pictures_without_labels_and_teacher_teach_nothing() -> None:
    found = terms(network(), None, torch.tensor([Teaching.TEACHER, Teaching.TEACHER]))
    assert found["loss"] == 0


def test_a_teacher_of_another_kind_teaches_by_its_boxes() -> None:
    student, teacher = network(), network("eresfd")
    found = terms(student, teacher, labels=0.0, teacher_threshold=0.0)
    assert set(found) == {
        "loss", "distilled_class", "distilled_objectness", "distilled_box", "distilled_landmark"
    }  # fmt: skip


def test_a_teacher_sees_pictures_by_its_own_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = network("eresfd"), network("yunet")
    seen = []
    forward = type(teacher).forward
    monkeypatch.setattr(
        type(teacher), "forward", lambda self, images: seen.append(images) or forward(self, images)
    )
    terms(student, teacher)
    images = 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rgb = images + torch.tensor([123.0, 117.0, 104.0])[:, None, None]
    torch.testing.assert_close(seen[0], rgb.flip(1))


def test_only_equal_candidates_speak_alike() -> None:
    yunet, other, anchors = network(), network(seed=1), network("eresfd")
    assert isinstance(yunet, YuNet)
    assert isinstance(other, YuNet)
    assert isinstance(anchors, EResFD)
    assert speak_alike(yunet, other, (64, 64))
    assert not speak_alike(yunet, anchors, (64, 64))


@pytest.mark.parametrize("kind", ["yunet", "eresfd"])
def test_a_lone_face_counts_as_much_as_a_crowd_where_pictures_are_averaged(kind: str) -> None:
    detector: Detector = network(kind)  # type: ignore[assignment]
    outputs = [output.detach() for output in detector(torch.rand(2, 3, 64, 64))]
    crowd = torch.tensor([[x / 8, 0.1, x / 8 + 0.2, 0.5] for x in range(6)])
    faces = [crowd, FACES[0]]
    for name in detector.losses(outputs, (64, 64), faces):
        if name == "landmark":
            continue
        alone = [
            float(detector.losses([o[[i]] for o in outputs], (64, 64), [faces[i]])[name])
            for i in range(2)
        ]
        both = detector.losses(outputs, (64, 64), faces, picture_share=1.0)  # type: ignore[call-arg]
        assert float(both[name]) == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.parametrize("kind", ["yunet", "eresfd"])
def test_batch_norms_are_frozen_though_nobody_called_train(kind: str) -> None:
    # Lightning leaves a task in the mode in which it finds it, and a new network trains.
    student = network(kind).train()
    task = _Logged(student, network(kind))
    before = {name: buffer.clone() for name, buffer in student.named_buffers()}
    task.training_step((255 * torch.rand(2, 3, 64, 64), FACES), 0)
    for name, buffer in student.named_buffers():
        assert torch.equal(buffer, before[name])

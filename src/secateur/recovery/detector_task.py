"""DistilledDetectorTask: train a pruned detector to agree with its teacher, and with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from secateur.data.mixed_faces import Teaching
from secateur.detectors.detection import Detector, Distillable, detect, run, sum_losses
from secateur.detectors.task import DetectorTask
from secateur.evaluation_mode import freeze_batchnorms
from secateur.recovery.distillation import detector_distances
from secateur.runtime.folding import FoldedBatchNorms
from secateur.runtime.fusion import fuse
from secateur.training_steps import log_training_loss

Batch = tuple[Tensor, list[Tensor]] | tuple[Tensor, list[Tensor], Tensor]


class DistilledDetectorTask(DetectorTask):
    """Recover a pruned detector from the dense network that it was.

    The loss is ``distillation * (probabilities + boxes + landmarks) + labels * own loss``. Batch
    norms stay in evaluation mode: statistics of few pictures would undo what reconstruction made
    of them.

    Args:
        network: The pruned detector.
        teacher: The dense one, or any other; None trains with labels alone.
        distillation: Weight of the distillation losses.
        probabilities: Weight of the distances between probabilities among these.
        labels: Weight of the detector's own loss.
        picture_share: How much of the losses is a mean over pictures, in [0, 1].
        freeze_batchnorm: Whether batch norms stay in evaluation mode.
        teacher_threshold: From which score boxes of a teacher with other outputs count as faces.
        **options: Arguments of ``DetectorTask``.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: nn.Module | None = None,
        distillation: float = 1.0,
        probabilities: float = 1.0,
        labels: float = 0.3,
        picture_share: float = 0.5,
        freeze_batchnorm: bool = True,
        teacher_threshold: float = 0.5,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(network, **options)
        # In a list, so that it is no submodule: neither trained nor saved in checkpoints.
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        self._fused: list[nn.Module] = []
        self._alike: dict[tuple[int, int], bool] = {}
        self._norms = FoldedBatchNorms(network)
        self.distillation = distillation
        self.probabilities = probabilities
        self.labels = labels
        self.picture_share = picture_share
        self.freeze_batchnorm = freeze_batchnorm
        self.teacher_threshold = teacher_threshold

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Total loss of one batch.

        Args:
            batch: Images (B, 3, H, W), per image faces (G, 4), and, if some faces teach less than
                others, what those of each image teach, (B,) of ``Teaching``.
            batch_idx: Number of the batch.

        Raises:
            InputError: If the loss is not a finite number.
        """
        if self.freeze_batchnorm:  # Lightning trains a task in the mode that it finds
            freeze_batchnorms(self.network)
        images, faces = batch[0], batch[1]
        images = images.contiguous(memory_format=torch.channels_last)
        teaching = batch[2] if len(batch) > 2 else torch.full((len(faces),), Teaching.BOXES)
        with self._norms.folded():
            outputs, size = run(self.detector, images)
        parts: dict[str, Tensor] = {}
        if self._teacher and self.distillation > 0:
            taught = self._distill(images, outputs, size)
            parts |= {f"distilled_{name}": self.distillation * x for name, x in taught.items()}
        if self.labels > 0:
            labeled = self._label(outputs, size, faces, teaching)
            parts |= {name: self.labels * value for name, value in labeled.items()}
        # Without labels and teacher a batch teaches nothing.
        total = sum_losses(parts) if parts else sum_losses({"none": outputs[0].sum() * 0})
        log_training_loss(self, total, parts, batch_idx, len(images))
        return total

    def _distill(
        self, images: Tensor, outputs: Sequence[Tensor], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Losses against the teacher, through its boxes where its outputs mean something else."""
        teacher = cast("Detector", self._teacher_for(images))
        student = self.detector
        images = student.preprocessing.convert(images, teacher.preprocessing)
        with torch.no_grad():
            wanted, teacher_size = run(teacher, images)
        if (
            isinstance(student, Distillable)
            and isinstance(teacher, Distillable)
            and teacher_size == size
            and self._speak_alike(student, teacher, size)
        ):
            return detector_distances(
                student, outputs, teacher, wanted, self.picture_share, self.probabilities
            )
        with torch.no_grad():
            rows = detect(teacher, images, score_threshold=self.teacher_threshold)
        faces = [_boxes(found) for found in rows]
        return self._label(outputs, size, faces, torch.full((len(faces),), Teaching.BOXES))

    def _speak_alike(
        self, student: Distillable, teacher: Distillable, size: tuple[int, int]
    ) -> bool:
        """``speak_alike``, asked once for each size of the input."""
        if size not in self._alike:
            self._alike[size] = speak_alike(student, teacher, size)
        return self._alike[size]

    def _teacher_for(self, images: Tensor) -> nn.Module:
        """The teacher where the images are; fused on a CPU, where it then takes half the time."""
        if images.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return self._teacher[0].to(images.device)
        if not self._fused:
            self._fused = [fuse(self._teacher[0].to(images.device))]
        return self._fused[0]

    def _label(
        self,
        outputs: Sequence[Tensor],
        size: tuple[int, int],
        faces: Sequence[Tensor],
        teaching: Tensor,
    ) -> dict[str, Tensor]:
        """The detector's own loss; boxes of another convention say only where faces are."""
        rows = (teaching != Teaching.TEACHER).nonzero().flatten().tolist()
        faces = [faces[row] for row in rows]
        nothing = not rows
        if nothing:
            # A loss may ask all processes how many faces there are, so every one computes it.
            rows, faces = [0], [torch.zeros(0, 4)]
        outputs = [output[rows] for output in outputs]
        detector, settings = self.detector, dict(self.loss_settings)
        if isinstance(detector, Distillable):
            settings["exact"] = (teaching[rows] == Teaching.BOXES).to(outputs[0].device)
            settings["picture_share"] = self.picture_share
        terms = detector.losses(outputs, size, faces, **settings)
        return {name: 0 * term for name, term in terms.items()} if nothing else terms


def speak_alike(student: Distillable, teacher: Distillable, size: tuple[int, int]) -> bool:
    """Whether the outputs of two detectors mean the same, candidate by candidate.

    Args:
        student: A detector.
        teacher: Another.
        size: Height and width of the input.
    """
    own, other = student.candidates(size), teacher.candidates(size)
    return own.shape == other.shape and torch.equal(own, other.to(own.device))


def _boxes(rows: Tensor) -> Tensor:
    """Corners (G, 4) of positive size inside the picture, of detections (K, 5 or more)."""
    boxes = rows[:, :4].clamp(0, 1)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]

"""Error of landmarks: mean distance over the size of the face, of the faces that were found."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_iou

LEAST_OVERLAP = 0.5


def landmark_errors(detections: Tensor, faces: Tensor, landmarks: Tensor) -> Tensor:
    """Normalized mean error of every face with landmarks that was found.

    A face was found by the detection of the highest score that overlaps it by at least half. Its
    error is the mean distance of the annotated landmarks over the root of the area of its box, as
    for RetinaFace (Deng et al., CVPR 2020, section 4.3).

    Args:
        detections: (K, 15) x1, y1, x2, y2, score, five landmarks, in pixels.
        faces: (G, 4) x, y, width, height in pixels.
        landmarks: (G, 5, 3) x, y and weight, 0 where one is not annotated.

    Returns:
        (F,) errors, F at most G.

    Examples:
        >>> face = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> found = torch.tensor([[0.0, 0.0, 10.0, 10.0, 0.9, *([5.0, 5.0] * 5)]])
        >>> landmark_errors(found, face, torch.tensor([[[5.0, 6.0, 1.0]] * 5]))
        tensor([0.1000])
    """
    if not len(landmarks) or not len(detections):
        return detections.new_zeros(0)
    annotated = landmarks[..., 2].sum(dim=1) > 0
    faces, landmarks = faces[annotated], landmarks[annotated]
    if not len(faces):
        return detections.new_zeros(0)
    corners = torch.cat([faces[:, :2], faces[:, :2] + faces[:, 2:]], dim=1)
    overlaps = box_iou(corners, detections[:, :4]) >= LEAST_OVERLAP
    scores = torch.where(overlaps, detections[:, 4], -1.0)
    best, index = scores.max(dim=1)
    found = best >= 0
    told = detections[index, 5:15].reshape(-1, 5, 2)
    distance = (told - landmarks[..., :2]).norm(dim=2)
    weight = landmarks[..., 2]
    mean = (distance * weight).sum(dim=1) / weight.sum(dim=1)
    errors: Tensor = (mean / faces[:, 2:].prod(dim=1).sqrt())[found]
    return errors


class LandmarkError(Metric):
    """Mean of ``landmark_errors`` over all pictures, exact over several processes."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: object) -> None:
        """Make an empty metric.

        Args:
            **kwargs: Passed to `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, detections: Tensor, faces: Tensor, landmarks: Tensor) -> None:
        """Add one picture; the arguments are those of ``landmark_errors``."""
        errors = landmark_errors(detections.cpu(), faces.cpu(), landmarks.cpu())
        # not in place: a state that was reset in inference mode takes no in-place update outside
        self.total = self.total + errors.double().sum().to(self.total.device)
        self.count = self.count + len(errors)

    def compute(self) -> Tensor:
        """The mean, NaN without a face that was found."""
        return (self.total / self.count).float()

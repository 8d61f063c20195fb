"""The WIDER FACE protocol as a torchmetrics Metric, exact over several processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from secateur.metrics.face_matching import match_picture
from secateur.metrics.predictions import from_corners
from secateur.metrics.wider_face import (
    SETTINGS,
    average_precision,
    normalize_scores,
    precision_recall,
)

# what a prediction is in one setting: a digit of base 4, so that the digits of all settings make
# one small number that float32 holds exactly
_ABSENT, _IGNORED, _FALSE_ALARM, _HIT = range(4)


class WiderFaceAP(Metric):
    """Average precision on WIDER FACE, per setting.

    Scores are normalised over all predictions, so they are kept until the end: two float32
    numbers for each prediction, in one-dimensional states, the only ones that several processes
    can gather when they hold different amounts or nothing at all.

    Attributes:
        curves: ``(1000, 2)`` precision and recall by setting, of the last `compute`, of all
            processes; they outlive a reset.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    max_settings: ClassVar[int] = 12  # 4 ** 12 is the largest integer that float32 counts up to

    scores: list[Tensor]
    verdicts: list[Tensor]
    n_faces: Tensor
    curves: dict[str, NDArray[np.float64]]

    def __init__(self, settings: Sequence[str] = SETTINGS, **kwargs: object) -> None:
        """Make an empty metric.

        Args:
            settings: Names of the settings, at most 12.
            **kwargs: Passed to `torchmetrics.Metric`.
        """
        super().__init__(**kwargs)
        if not 1 <= len(settings) <= self.max_settings:
            raise ValueError(f"1 to {self.max_settings} settings are possible, got {len(settings)}")
        self.settings = tuple(settings)
        self.curves = {}
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("verdicts", [], dist_reduce_fx="cat")
        self.add_state(
            "n_faces", torch.zeros(len(settings), dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(
        self, predictions: Tensor, faces: Tensor, evaluated: Tensor, participates: Tensor
    ) -> None:
        """Add one picture.

        Args:
            predictions: ``(P, 5)`` x1, y1, x2, y2, score in pixels, in any order. Widths become
                x2 - x1 + 1, as in the prediction files of the benchmark.
            faces: ``(G, 4)`` x, y, width, height of all faces in pixels.
            evaluated: ``(S, G)`` True where a setting evaluates a face.
            participates: ``(S,)`` True where the picture takes part in a setting; to the others
                it contributes nothing.

        Raises:
            InputError: A shape does not fit, or a number is not finite.
        """
        rows = from_corners(_to_numpy(predictions))
        part = _to_numpy(participates).astype(np.bool_)
        if part.shape != (len(self.settings),):
            raise ValueError(f"participates must have shape ({len(self.settings)},)")
        masks = _to_numpy(evaluated).astype(np.bool_) & part[:, None]
        proposals, hits = match_picture(rows, _to_numpy(faces), masks)
        verdicts = np.where(hits, _HIT, np.where(proposals, _FALSE_ALARM, _IGNORED))
        verdicts[~part] = _ABSENT
        codes = 4 ** np.arange(len(self.settings)) @ verdicts
        self.scores.append(torch.tensor(rows[:, 4], dtype=torch.float32, device=self.device))
        self.verdicts.append(torch.tensor(codes, dtype=torch.float32, device=self.device))
        # not in place: a state that was reset in inference mode takes no in-place update outside
        self.n_faces = self.n_faces + torch.tensor(masks.sum(axis=1), device=self.device)

    def compute(self) -> dict[str, Tensor]:
        """Return ``ap_<setting>`` for each setting with at least one evaluated face."""
        scores = _to_numpy(_gathered(self.scores)).astype(np.float64)
        codes = _to_numpy(_gathered(self.verdicts)).astype(np.int64)
        results, self.curves = {}, {}
        for i, setting in enumerate(self.settings):
            n_faces = int(self.n_faces[i])
            if n_faces == 0:
                continue
            verdicts = codes >> (2 * i) & 3
            part = verdicts != _ABSENT
            verdicts = verdicts[part]
            self.curves[setting] = precision_recall(
                normalize_scores(scores[part]), verdicts >= _FALSE_ALARM, verdicts == _HIT, n_faces
            )
            results[f"ap_{setting}"] = torch.tensor(
                average_precision(*self.curves[setting].T), dtype=torch.float32, device=self.device
            )
        return results


def _gathered(state: list[Tensor] | Tensor) -> Tensor:
    """Concatenate a state: a list before processes are synchronised, a tensor after."""
    return dim_zero_cat(state) if len(state) else torch.empty(0)


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    """Bring a tensor to the CPU; numpy has no bfloat16, so floats become float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

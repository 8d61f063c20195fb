"""Face verification as a torchmetrics Metric, exact over several processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat, rank_zero_warn

from secateur.errors import InputError
from secateur.metrics.embeddings import Measure, average_templates, check_measure, compare_pairs
from secateur.metrics.verification import Verification, verify


class PairVerification(Metric):
    """Accuracy by folds, EER, AUC and TAR at FAR of a list of pairs.

    Every image is embedded once, in any order and by any process, and says which one it is; pairs
    are compared at the end. Embeddings and numbers are kept flat as float32, since
    one-dimensional float32 states are the only ones that several processes can gather when they
    hold different amounts or nothing at all. An image that comes twice, as samplers do to share
    evenly, counts once.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    max_images = 2**24
    """As many numbers as float32 counts without a gap."""

    embeddings: list[Tensor]
    indices: list[Tensor]
    first: Tensor
    second: Tensor
    same: Tensor
    fold: Tensor | None
    images: Tensor | None
    sizes: Tensor | None

    def __init__(
        self,
        first: ArrayLike | Tensor,
        second: ArrayLike | Tensor,
        same: ArrayLike | Tensor,
        fold: ArrayLike | Tensor | None = None,
        *,
        templates: Sequence[Sequence[int]] | None = None,
        measure: Measure = "cosine",
        **kwargs: object,
    ) -> None:
        """Take the pairs.

        Args:
            first: ``(P,)`` number of one image of each pair, or of one template.
            second: ``(P,)`` number of the other.
            same: ``(P,)`` True where both are of one person.
            fold: ``(P,)`` fold of each pair; without it there is no accuracy.
            templates: Images of each template, when templates are compared.
            measure: ``cosine`` or ``euclidean``.
            **kwargs: Passed to `torchmetrics.Metric`.

        Raises:
            InputError: The lengths differ, a number is out of range, there is no pair of one
                person or none of different people, or the measure is unknown.
        """
        super().__init__(**kwargs)
        check_measure(measure)
        self.measure = measure
        columns = [_integers(column) for column in (first, second, same)]
        columns += [] if fold is None else [_integers(fold)]
        if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
            raise InputError(
                "Pairs need as many first as second images, labels and folds, got "
                f"{', '.join(str(tuple(column.shape)) for column in columns)}."
            )
        if not 0 < int(columns[2].count_nonzero()) < len(columns[2]):
            raise InputError("Verification needs pairs of one person and of different people.")
        images = None if templates is None else _integers([i for t in templates for i in t])
        sizes = None if templates is None else _integers([len(t) for t in templates])
        self._check_range(columns, images, sizes)
        buffers = {"first": columns[0], "second": columns[1], "same": columns[2].bool()}
        optional = {"fold": None if fold is None else columns[3], "images": images, "sizes": sizes}
        for name, tensor in {**buffers, **optional}.items():
            self.register_buffer(name, tensor, persistent=False)
        self.add_state("embeddings", [], dist_reduce_fx="cat")
        self.add_state("indices", [], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, index: Tensor) -> None:
        """Add images.

        Args:
            embeddings: ``(B, D)`` embeddings.
            index: ``(B,)`` number of each image, as the pairs or templates name it. An image
                that none names may come too.

        Raises:
            InputError: The lengths differ, a number is out of range, or an embedding is not
                finite.
        """
        if embeddings.ndim != 2 or index.shape != embeddings.shape[:1]:
            raise InputError(
                f"Each embedding needs one image number, got shapes {tuple(embeddings.shape)} "
                f"and {tuple(index.shape)}."
            )
        if not len(index):
            return
        if not 0 <= int(index.min()) <= int(index.max()) < self.max_images:
            raise InputError(f"Image numbers must lie between 0 and {self.max_images - 1}.")
        rows = embeddings.detach().float()
        if not bool(torch.isfinite(rows).all()):
            raise InputError("An embedding is not finite: has the network diverged?")
        self.embeddings.append(rows.to(self.device).flatten())
        self.indices.append(index.detach().to(self.device).float())

    def compute(self) -> dict[str, Tensor]:
        """Return ``accuracy``, ``eer``, ``auc`` and ``tar_at_far_1e-1`` ... by name.

        A figure that the pairs cannot support is absent. Pairs of images that never came are left
        out with a warning; where that leaves no pair of one person or none of different people,
        nothing is returned.
        """
        result = self.verification()
        record = {} if result is None else result.record()
        return {
            name: torch.tensor(value, dtype=torch.float32, device=self.device)
            for name, value in record.items()
        }

    def verification(self) -> Verification | None:
        """Judge the pairs whose images have come, with the ROC and the reasons for what is absent.

        Unlike `compute` this does not gather what other processes hold; ``sync_context()`` does.

        Returns:
            All figures; None without a pair of one person or without one of different people.
        """
        scores, present = self.pair_scores()
        same = self.same[present].cpu().numpy()
        if not len(same) or same.all() or not same.any():
            return None
        fold = None if self.fold is None else self.fold[present].cpu().numpy()
        return verify(scores.cpu().numpy(), same, fold)

    def pair_scores(self) -> tuple[Tensor, Tensor]:
        """Compare the pairs whose images have come.

        Returns:
            ``(K,)`` scores, and ``(P,)`` True for the K pairs they belong to.
        """
        rows, row_of = self._table()
        if self.images is not None and self.sizes is not None:
            rows, row_of = self._templates(rows, row_of)
        first, second = row_of[self.first], row_of[self.second]
        present = (first >= 0) & (second >= 0)
        absent = len(present) - int(present.sum())
        if absent:
            rank_zero_warn(
                f"{absent} of {len(present)} verification pairs are left out, because an image "
                "of theirs has not been embedded."
            )
        return compare_pairs(rows, first[present], second[present], self.measure), present

    def embedded(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the images that have come, by rising number.

        Like `verification` this does not gather what other processes hold.

        Returns:
            ``(K, D)`` embeddings, and ``(K,)`` numbers of their images.
        """
        rows, row_of = self._table()
        images = torch.nonzero(row_of >= 0).flatten()
        return rows[row_of[images]], images

    def _table(self) -> tuple[Tensor, Tensor]:
        """Return ``(N, D)`` embeddings as they came, and the row of each image or -1."""
        named = (self.first, self.second) if self.images is None else (self.images,)
        n_images = 1 + max(int(column.max()) for column in named)
        row_of = torch.full((n_images,), -1, device=self.device)
        if not len(self.indices):
            return torch.zeros(0, 1, device=self.device), row_of
        # lists before processes are synchronised, tensors after
        index, order = dim_zero_cat(self.indices).long().sort(stable=True)
        rows = dim_zero_cat(self.embeddings).view(len(index), -1)
        wanted = torch.ones_like(index, dtype=torch.bool)
        wanted[1:] = index[1:] != index[:-1]
        wanted &= index < n_images
        row_of[index[wanted]] = order[wanted]
        return rows, row_of

    def _templates(self, rows: Tensor, row_of: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(K, D)`` complete templates, and the row of each template or -1."""
        assert self.images is not None
        assert self.sizes is not None
        members = row_of[self.images]
        lowest = torch.segment_reduce(members.float(), "min", lengths=self.sizes, axis=0)
        complete = lowest >= 0
        used = complete.repeat_interleave(self.sizes)
        row_of_template = torch.where(complete, complete.cumsum(0) - 1, -1)
        if not len(rows):
            return rows, row_of_template
        return average_templates(rows, members[used], self.sizes[complete]), row_of_template

    def _check_range(
        self, columns: Sequence[Tensor], images: Tensor | None, sizes: Tensor | None
    ) -> None:
        """Refuse pairs or templates that name what cannot exist."""
        limit = self.max_images if sizes is None else len(sizes)
        if sizes is not None and not bool((sizes > 0).all()):
            raise InputError("Every template needs at least one image.")
        for numbers, end in ((columns[0], limit), (columns[1], limit), (images, self.max_images)):
            if numbers is not None and not 0 <= int(numbers.min()) <= int(numbers.max()) < end:
                raise InputError(
                    f"The pairs name {int(numbers.min())} to {int(numbers.max())}, but numbers "
                    f"must lie between 0 and {end - 1}."
                )


def _integers(values: ArrayLike | Tensor) -> Tensor:
    """Copy whole numbers to a tensor."""
    copied = values.clone() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))
    return copied.long()

from __future__ import annotations

import pytest
import torch

from secateur.errors import InputError
from secateur.metrics.embeddings import average_templates


def test_means_of_unit_vectors() -> None:
    embeddings = torch.tensor([[3.0, 4], [0, 2], [-5, 0], [0, 0]])
    means = average_templates(embeddings, torch.tensor([0, 1, 2, 3]), torch.tensor([2, 1, 1]))
    torch.testing.assert_close(means, torch.tensor([[0.3, 0.9], [-1, 0], [0, 0]]))


def test_templates_may_share_images_and_differ_in_size() -> None:
    embeddings = torch.randn(9, 5)
    members = [[0, 3, 8], [3], [8, 1, 1, 2, 0]]
    flat = torch.tensor([image for template in members for image in template])
    means = average_templates(embeddings, flat, torch.tensor([3, 1, 5]))
    units = embeddings / embeddings.norm(dim=1, keepdim=True)
    for mean, template in zip(means, members, strict=True):
        torch.testing.assert_close(mean, sum(units[i] for i in template) / len(template))


def test_bad_input_is_told() -> None:
    for sizes in ([2, 0], [1], [3]):
        with pytest.raises(InputError, match="at least one image"):
            average_templates(torch.ones(2, 3), torch.tensor([0, 1]), torch.tensor(sizes))

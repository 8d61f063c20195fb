from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from secateur.errors import InputError
from secateur.metrics.embeddings import Measure, compare_pairs


def naive_score(a: Tensor, b: Tensor, measure: str) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    if measure == "euclidean":
        return -float(np.sqrt(np.sum((x - y) ** 2)))
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


@pytest.mark.parametrize("measure", ["cosine", "euclidean"])
@pytest.mark.parametrize("block", [1, 7, 512])
def test_scores_equal_the_formula_in_any_blocks(measure: Measure, block: int) -> None:
    random = torch.Generator().manual_seed(0)
    embeddings = 5 * torch.randn(20, 33, generator=random)
    first, second = torch.randint(0, 20, (2, 50), generator=random)
    scores = compare_pairs(embeddings, first, second, measure, block)
    expected = [
        naive_score(embeddings[i], embeddings[j], measure)
        for i, j in zip(first, second, strict=True)
    ]
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_half_precision_is_compared_as_single() -> None:
    embeddings = torch.tensor([[300.0, 0], [300, 300]], dtype=torch.float16)
    scores = compare_pairs(embeddings, torch.tensor([0]), torch.tensor([1]))
    assert scores.item() == pytest.approx(0.5**0.5, abs=1e-6)


def test_an_embedding_of_zeros_is_like_nothing() -> None:
    pair = torch.tensor([0]), torch.tensor([1])
    assert compare_pairs(torch.tensor([[0.0, 0], [1, 0]]), *pair).item() == 0


def test_no_pairs() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert compare_pairs(torch.ones(2, 3), none, none).shape == (0,)


def test_embeddings_are_left_alone() -> None:
    embeddings = torch.randn(4, 3, requires_grad=True)
    before = embeddings.clone()
    for measure in get_args(Measure):
        scores = compare_pairs(embeddings, torch.arange(3), torch.arange(1, 4), measure)
        assert not scores.requires_grad
    assert torch.equal(embeddings, before)


def test_bad_input_is_told() -> None:
    rows = torch.ones(2, 3)
    with pytest.raises(InputError, match="rows 0 to 2, but there are only 2"):
        compare_pairs(rows, torch.tensor([0, 1]), torch.tensor([1, 2]))
    with pytest.raises(InputError, match="rows -1 to 0"):
        compare_pairs(rows, torch.tensor([0]), torch.tensor([-1]))
    with pytest.raises(InputError, match="two faces each"):
        compare_pairs(rows, torch.tensor([0]), torch.tensor([1, 0]))
    with pytest.raises(InputError, match="Unknown measure 'dot': choose cosine or euclidean"):
        compare_pairs(rows, torch.tensor([0]), torch.tensor([1]), "dot")  # type: ignore[arg-type]

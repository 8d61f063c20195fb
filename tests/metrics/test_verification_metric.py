from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from secateur.errors import InputError
from secateur.metrics.embeddings import average_templates, compare_pairs
from secateur.metrics.pose_protocol import make_pose_protocol
from secateur.metrics.verification import verify
from secateur.metrics.verification_metric import PairVerification
from tests.ddp import run_processes

N_IMAGES, N_PAIRS, DIM = 41, 300, 16


def draw_embeddings() -> tuple[Tensor, Tensor]:
    """Embeddings of seven people, and who they are."""
    random = torch.Generator().manual_seed(0)
    identity = torch.arange(N_IMAGES) % 7
    centers = torch.randn(7, DIM, generator=random)
    return centers[identity] + 1.3 * torch.randn(N_IMAGES, DIM, generator=random), identity


def draw_pairs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    _, identity = draw_embeddings()
    first = torch.randint(0, N_IMAGES, (N_PAIRS,), generator=random)
    other = torch.randint(0, N_IMAGES, (N_PAIRS,), generator=random)
    partner = (first + 7 * torch.randint(1, 5, (N_PAIRS,), generator=random)) % (N_IMAGES // 7 * 7)
    second = torch.where(torch.arange(N_PAIRS) % 2 == 0, partner, other)
    return first, second, identity[first] == identity[second], torch.arange(N_PAIRS) % 10


def update_all(metric: PairVerification, indices: list[int], batch: int = 6) -> None:
    embeddings, _ = draw_embeddings()
    for start in range(0, len(indices), batch):
        index = torch.tensor(indices[start : start + batch])
        metric.update(embeddings[index], index)


def to_numbers(record: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in record.items()}


@pytest.mark.parametrize("measure", ["cosine", "euclidean"])
def test_metric_equals_the_pure_functions_in_any_order(measure: Any) -> None:
    first, second, same, fold = draw_pairs()
    metric = PairVerification(first, second, same, fold, measure=measure)
    # shuffled, one image twice, and one that no pair names
    update_all(metric, [*np.random.default_rng(0).permutation(N_IMAGES), 5])
    metric.update(torch.ones(1, DIM), torch.tensor([N_IMAGES + 9]))
    scores = compare_pairs(draw_embeddings()[0], first, second, measure)
    expected = verify(scores, same, fold).record()
    assert list(expected) == ["accuracy", "eer", "auc", "tar_at_far_1e-1", "tar_at_far_1e-2"]
    assert to_numbers(metric.compute()) == pytest.approx(expected, abs=1e-7)
    assert 0.05 < expected["eer"] < 0.4


def test_pairs_may_be_arrays_and_have_no_folds() -> None:
    first, second, same, _ = (column.numpy() for column in draw_pairs())
    metric = PairVerification(first, second, same)
    update_all(metric, list(range(N_IMAGES)))
    assert "accuracy" not in metric.compute()
    result = metric.verification()
    assert result is not None
    assert "two folds" in result.unsupported["accuracy"]


def test_pairs_without_embeddings_are_left_out_and_told() -> None:
    first, second, same, fold = draw_pairs()
    metric = PairVerification(first, second, same, fold)
    some = list(range(20))
    update_all(metric, some)
    present = (first < 20) & (second < 20)
    with pytest.warns(UserWarning, match=f"{N_PAIRS - int(present.sum())} of {N_PAIRS}"):
        got = to_numbers(metric.compute())
    scores = compare_pairs(draw_embeddings()[0], first[present], second[present])
    expected = verify(scores, same[present], fold[present]).record()
    assert got == pytest.approx(expected, abs=1e-7)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_to_compare_gives_nothing() -> None:
    metric = PairVerification([0, 0], [1, 2], [True, False])
    with pytest.warns(UserWarning, match="2 of 2"):
        assert metric.compute() == {}
    metric.reset()
    metric.update(torch.eye(2), torch.tensor([0, 1]))
    with pytest.warns(UserWarning, match="1 of 2"):
        assert metric.compute() == {}


def test_reset_forgets() -> None:
    pairs = draw_pairs()
    metric = PairVerification(*pairs)
    metric.update(torch.randn(N_IMAGES, DIM), torch.arange(N_IMAGES))
    metric.reset()
    update_all(metric, list(range(N_IMAGES)))
    scores = compare_pairs(draw_embeddings()[0], pairs[0], pairs[1])
    assert to_numbers(metric.compute()) == pytest.approx(
        verify(scores, *pairs[2:]).record(), abs=1e-7
    )


def test_templates_of_poses_in_a_collection() -> None:
    """All comparisons of the protocol in one collection, each equal to plain averages."""
    embeddings, _ = draw_embeddings()
    images = [(f"p{i % 2}", "frontal" if i < 20 else "profile", i) for i in range(40)]
    protocol = make_pose_protocol(images, 5)
    metrics = {
        "-".join(poses): PairVerification(
            pairs.first, pairs.second, pairs.same, templates=protocol.templates
        )
        for poses, pairs in protocol.comparisons.items()
    }
    collection = MetricCollection(dict(metrics))
    for start in range(0, N_IMAGES, 6):
        index = torch.arange(start, min(start + 6, N_IMAGES))
        collection.update(embeddings[index], index)
    units = torch.nn.functional.normalize(embeddings, dim=1)
    means = torch.stack([units[list(t)].mean(dim=0) for t in protocol.templates])
    for name, pairs in zip(metrics, protocol.comparisons.values(), strict=True):
        first, second = torch.tensor(pairs.first), torch.tensor(pairs.second)
        scores = torch.nn.functional.cosine_similarity(means[first], means[second])
        expected = verify(scores, pairs.same)
        got, _ = metrics[name].pair_scores()
        torch.testing.assert_close(got, scores)
        assert metrics[name].compute()["eer"].item() == pytest.approx(expected.eer, abs=1e-6)


def test_templates_with_a_missing_image_are_left_out() -> None:
    embeddings, _ = draw_embeddings()
    metric = PairVerification(
        [0, 0, 1], [1, 2, 3], [True, False, True], templates=[[0, 7], [14], [1, 8], [21, 28]]
    )
    seen = torch.tensor([14, 7, 0, 28, 1])
    metric.update(embeddings[seen], seen)
    with pytest.warns(UserWarning, match="2 of 3"):
        scores, present = metric.pair_scores()
    assert present.tolist() == [True, False, False]
    means = average_templates(embeddings, torch.tensor([0, 7, 14]), torch.tensor([2, 1]))
    torch.testing.assert_close(scores, torch.nn.functional.cosine_similarity(means[:1], means[1:]))


def test_half_precision_and_gradients_are_accepted() -> None:
    metric = PairVerification([0, 0], [1, 2], [True, False])
    rows = torch.tensor([[1.0, 0], [1, 1], [0, 1]], dtype=torch.bfloat16, requires_grad=True)
    metric.update(rows, torch.arange(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric.compute()["eer"] == 0


def test_it_is_read_in_and_out_of_inference_mode() -> None:
    metric = PairVerification([0, 0], [1, 2], [True, False])
    for outer, inner in ((True, False), (False, True)):
        with torch.inference_mode(outer):
            metric.update(torch.tensor([[1.0, 0], [1, 1], [0, 1]]), torch.arange(3))
        with torch.inference_mode(inner):
            assert metric.compute()["auc"] == 1
            metric.reset()


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="as many first as second"):
        PairVerification([0, 1], [1], [True])
    with pytest.raises(InputError, match="pairs of one person and of different"):
        PairVerification([0, 1], [1, 2], [True, True])
    with pytest.raises(InputError, match="Unknown measure 'manhattan'"):
        PairVerification([0, 1], [1, 2], [True, False], measure="manhattan")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name -1 to 1"):
        PairVerification([0, 1], [1, -1], [True, False])
    with pytest.raises(InputError, match="name 1 to 2, but numbers must lie between 0 and 1"):
        PairVerification([0, 1], [1, 2], [True, False], templates=[[0], [1]])
    with pytest.raises(InputError, match="at least one image"):
        PairVerification([0, 1], [1, 2], [True, False], templates=[[0], [], [2]])
    metric = PairVerification([0, 0], [1, 2], [True, False])
    with pytest.raises(InputError, match="diverged"):
        metric.update(torch.full((1, 2), torch.nan), torch.tensor([0]))
    with pytest.raises(InputError, match="one image number"):
        metric.update(torch.ones(2, 2), torch.tensor([0]))
    with pytest.raises(InputError, match="between 0 and"):
        metric.update(torch.ones(1, 2), torch.tensor([-1]))


def compute_share(rank: int, n_processes: int, alone: bool) -> dict[str, Tensor]:
    """Odd shares, with images that come to both, or everything with the first process."""
    metric = PairVerification(*draw_pairs())
    if alone:
        update_all(metric, list(range(N_IMAGES)) if rank == 0 else [])
    else:
        update_all(metric, [*range(rank, N_IMAGES, n_processes), 3, rank], batch=5 + rank)
    return metric.compute()


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True], ids=["odd share", "one rank empty"])
def test_two_processes_compute_what_one_does(alone: bool) -> None:
    metric = PairVerification(*draw_pairs())
    update_all(metric, list(range(N_IMAGES)))
    expected = metric.compute()
    assert len(expected) == 5
    for got in run_processes(compute_share, alone):
        assert got == expected

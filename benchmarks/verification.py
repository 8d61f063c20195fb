"""Face verification at size: seconds and peak memory, and ratios against plain references.

``python -m benchmarks.verification``; every row of the first table runs in a process of its own,
with one thread. Peak memory is what a call adds to the embeddings that it is given.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from benchmarks.side_by_side import compare
from secateur.metrics.all_pairs import histogram_all_pairs, roc_all_pairs
from secateur.metrics.embeddings import compare_pairs
from secateur.metrics.roc import area_under_curve, roc_of_scores
from secateur.metrics.verification import verification_of_roc, verify

N_IMAGES, N_PEOPLE, DIM, N_PAIRS = 10_000, 500, 512, 1_000_000


def draw(n_images: int = N_IMAGES) -> tuple[Tensor, Tensor]:
    """Embeddings of 20 images each of some people, and who they are."""
    torch.manual_seed(0)
    identity = torch.arange(n_images) % (n_images * N_PEOPLE // N_IMAGES)
    centers = torch.randn(int(identity.max()) + 1, DIM)
    return torch.randn(n_images, DIM).mul_(2.5).add_(centers[identity]), identity


def draw_pairs(identity: Tensor, n_pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs, half of them of one person."""
    first, other = torch.randint(0, len(identity), (2, n_pairs))
    n_people = int(identity.max()) + 1
    partner = (first + n_people * torch.randint(1, 20, (n_pairs,))) % len(identity)
    second = torch.where(torch.arange(n_pairs) % 2 == 0, partner, other)
    return first, second, identity[first] == identity[second]


def million_pairs() -> str:
    """Compare a million pairs and judge them by ten folds."""
    embeddings, identity = draw()
    first, second, same = draw_pairs(identity, N_PAIRS)
    fold = np.arange(N_PAIRS) * 10 // N_PAIRS

    def work() -> object:
        return verify(compare_pairs(embeddings, first, second), same, fold).record()

    return measure(work)


def all_pairs_exact() -> str:
    """Compute the exact ROC of 10,000 x 10,000 embeddings."""
    embeddings, identity = draw()
    return measure(lambda: verification_of_roc(roc_all_pairs(embeddings, identity)).record())


def all_pairs_histogram() -> str:
    """Count the scores of 10,000 x 10,000 embeddings in 65,536 bins."""
    embeddings, identity = draw()
    return measure(
        lambda: verification_of_roc(histogram_all_pairs(embeddings, identity).roc()).record()
    )


def measure(work: Callable[[], object]) -> str:
    """Run something once; say how long it took, what it added to memory, and its result."""
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5")  # start the peak of memory anew
    before = read_memory("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    added = read_memory("VmHWM") - before
    return f"{wall:6.2f} s wall {cpu:6.2f} s CPU {added:6.0f} MiB   {result}"


def read_memory(field: str) -> float:
    """Read a figure about this process in MiB, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def naive_pairs(embeddings: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[float]:
    """Cosine pair by pair."""
    return [
        float(embeddings[i] @ embeddings[j])
        / (float(np.linalg.norm(embeddings[i])) * float(np.linalg.norm(embeddings[j])))
        for i, j in zip(first, second, strict=True)
    ]


def main() -> None:
    """Measure and print."""
    context = multiprocessing.get_context("spawn")
    for task in (million_pairs, all_pairs_exact, all_pairs_histogram):
        with context.Pool(1) as pool:
            print(f"{task.__doc__!s:68s} {pool.apply(task)}", flush=True)
    torch.set_num_threads(1)
    embeddings, identity = draw(2000)
    first, second, same = draw_pairs(identity, 20_000)
    rows, i, j = embeddings.numpy(), first.numpy(), second.numpy()
    scores = compare_pairs(embeddings, first, second).numpy()
    assert np.allclose(scores, naive_pairs(rows, i, j), atol=1e-5)
    labels = same.numpy()
    random = np.random.default_rng(0)
    many = random.standard_normal(N_PAIRS).astype(np.float32)
    kinds = random.random(N_PAIRS) < 0.5
    for row in (
        compare(
            "compare 20,000 pairs of 512 numbers",
            lambda: compare_pairs(embeddings, first, second),
            lambda: naive_pairs(rows, i, j),
            "pair by pair",
        ),
        compare(
            "ROC and AUC of 20,000 pairs",
            lambda: area_under_curve(roc_of_scores(scores, labels)),
            lambda: (roc_curve(labels, scores), roc_auc_score(labels, scores)),
            "scikit-learn",
        ),
        compare(
            "ROC and AUC of a million pairs",
            lambda: area_under_curve(roc_of_scores(many, kinds)),
            lambda: (roc_curve(kinds, many), roc_auc_score(kinds, many)),
            "scikit-learn",
            repeats=3,
        ),
    ):
        print(
            f"{row.what:40s} {row.ours_ms:9.2f} ms   {row.reference}: {row.reference_ms:9.2f} ms   "
            f"{row.ratio:5.1f} times faster"
        )


if __name__ == "__main__":
    main()

from __future__ import annotations

import time
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur.errors import InputError
from secateur.metrics.wider_face import (
    average_precision,
    evaluate_wider_face,
    normalize_scores,
    precision_recall,
)
from tests.metrics.wider_golden import read_ground_truth, read_predictions, read_results

Floats = NDArray[np.float64]
LISTED = ("easy", "medium", "hard")


def naive_iou(a: Floats, b: Floats) -> float:
    ax2, ay2, bx2, by2 = a[0] + a[2], a[1] + a[3], b[0] + b[2], b[1] + b[3]
    width = min(ax2, bx2) - max(a[0], b[0]) + 1
    height = min(ay2, by2) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    area = (ax2 - a[0] + 1) * (ay2 - a[1] + 1) + (bx2 - b[0] + 1) * (by2 - b[1] + 1)
    return float(shared / (area - shared))


def naive_counts(rows: Floats, faces: Floats, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Proposals and hits (1000, 2) of one picture whose scores are normalised, box by box."""
    rows = np.array(sorted(rows.tolist(), key=lambda row: -row[4])).reshape(-1, 5)
    state = [0] * len(faces)
    counted, matched = [1] * len(rows), []
    for i, row in enumerate(rows):
        ious = [naive_iou(row, face) for face in faces]
        best = int(np.argmax(ious)) if ious else -1
        if ious and ious[best] >= 0.5:
            if not keep[best]:
                state[best], counted[i] = -1, 0
            elif state[best] == 0:
                state[best] = 1
        matched.append(state.count(1))
    counts = np.zeros((1000, 2), dtype=np.int64)
    for t in range(1, 1001):
        reach = [i for i, row in enumerate(rows) if row[4] >= 1 - t / 1000]
        if reach:
            counts[t - 1] = sum(counted[: reach[-1] + 1]), matched[reach[-1]]
    return counts


def naive_average_precision(precision: Floats, recall: Floats) -> float:
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    for i in range(len(precision) - 1, 0, -1):
        precision[i - 1] = np.fmax(precision[i - 1], precision[i])
    steps = [i for i in range(len(recall) - 1) if recall[i + 1] != recall[i]]
    return float(sum((recall[i + 1] - recall[i]) * precision[i + 1] for i in steps))


def draw_picture(
    random: np.random.Generator,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Faces, predictions near them with tied scores, and a mask."""
    faces = random.integers(0, 40, (random.integers(0, 5), 4)).astype(float)
    near = faces[random.integers(0, len(faces), 8)] if len(faces) else np.zeros((0, 4))
    near = near + random.integers(-3, 4, near.shape)
    near[:, 2:] = near[:, 2:].clip(0)
    boxes = np.concatenate([near, random.integers(0, 40, (random.integers(0, 4), 4))])
    scores = random.integers(0, 12, (len(boxes), 1)) / 10
    return np.concatenate([boxes, scores], axis=1), faces, random.random(len(faces)) < 0.6


@pytest.mark.parametrize("seed", range(12))
def test_evaluate_equals_the_protocol_done_box_by_box(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = {f"event{i % 2}/{i}.jpg": draw_picture(random) for i in range(6)}
    result = evaluate_wider_face(
        {name: p[0] for name, p in pictures.items()},
        {name: p[1] for name, p in pictures.items()},
        {name: {"easy": p[2], "hard": np.ones(len(p[1]))} for name, p in pictures.items()},
    )

    scores = np.concatenate([p[0][:, 4] for p in pictures.values()])
    low, high = scores.min(), scores.max()
    for setting in ("easy", "hard"):
        for event in ("event0", "event1", ""):
            counts, n_faces = np.zeros((1000, 2), dtype=np.int64), 0
            for name, (rows, faces, mask) in pictures.items():
                if name.startswith(event):
                    keep = mask if setting == "easy" else np.ones(len(faces), dtype=np.bool_)
                    normalized = rows.copy()
                    normalized[:, 4] = (rows[:, 4] - low) / (high - low)
                    counts += naive_counts(normalized, faces, keep)
                    n_faces += int(keep.sum())
            if n_faces == 0:
                assert event not in result.settings[setting].event_ap
                continue
            with np.errstate(invalid="ignore"):
                curve = np.stack([counts[:, 1] / counts[:, 0], counts[:, 1] / n_faces], axis=1)
            ap = naive_average_precision(*curve.T)
            if event:
                assert result.settings[setting].event_ap[event] == pytest.approx(ap, abs=1e-12)
            else:
                np.testing.assert_array_equal(result.settings[setting].curve, curve)
                assert result.settings[setting].ap == pytest.approx(ap, abs=1e-12)
                assert result.settings[setting].n_faces == n_faces


@pytest.mark.parametrize("name", ["A_good", "B_medium", "D_unsorted_missing"])
def test_golden_sets_give_the_official_figures(reference: Path, name: str) -> None:
    results = read_results(reference / "golden/eval")
    if name not in results:
        pytest.skip(f"the reference holds no golden set {name}")
    faces, masks = read_ground_truth(reference / "data/widerface_mini/ground_truth")
    predictions = read_predictions(reference / f"golden/eval/{name}_preds.npz", list(faces))
    result = evaluate_wider_face(predictions, faces, masks)
    with np.load(reference / f"golden/eval/{name}_curves.npz") as curves:
        for setting in LISTED:
            got = result.settings[setting]
            assert got.ap == pytest.approx(results[name]["official"][setting], abs=1e-9)
            assert got.n_faces == results[name]["official"][f"count_{setting}"]
            np.testing.assert_allclose(got.curve, curves[f"{setting}_prec_rec"], rtol=0, atol=1e-12)
    assert len(result.missing) == (3 if name == "D_unsorted_missing" else 0)
    assert len(result.settings["hard"].event_ap) == 61


def test_order_of_predictions_does_not_matter(reference: Path) -> None:
    faces, masks = read_ground_truth(reference / "data/widerface_mini/ground_truth")
    file = reference / "golden/eval/D_unsorted_missing_preds.npz"
    predictions = read_predictions(file, list(faces))
    # the stable order that the toolkit sorts to, so that ties stay what they are
    ordered = {name: p[np.argsort(-p[:, 4], kind="stable")] for name, p in predictions.items()}
    official = read_results(reference / "golden/eval")["D_unsorted_missing"]["official"]
    result = evaluate_wider_face(ordered, faces, masks)
    for setting in LISTED:
        assert result.settings[setting].ap == pytest.approx(official[setting], abs=1e-9)


@pytest.mark.slow
def test_evaluation_takes_a_fortieth_of_the_published_tool(reference: Path) -> None:
    faces, masks = read_ground_truth(reference / "data/widerface_mini/ground_truth")
    for name, golden in read_results(reference / "golden/eval").items():
        predictions = read_predictions(reference / f"golden/eval/{name}_preds.npz", list(faces))
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            evaluate_wider_face(predictions, faces, masks)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < golden["upstream_seconds"] / 40


def test_a_picture_that_takes_no_part_adds_no_false_alarm() -> None:
    faces = {"a/1.jpg": np.array([[0, 0, 10, 10]]), "b/2.jpg": np.array([[0, 0, 10, 10]])}
    predictions = {
        "a/1.jpg": np.array([[0, 0, 10, 10, 0.5], [70, 0, 10, 10, 0.1]]),
        "b/2.jpg": np.array([[70, 70, 10, 10, 0.9], [0, 0, 10, 10, 0.2]]),
    }
    masks = {"a/1.jpg": {"easy": [True]}, "b/2.jpg": {"unlisted": [True]}}
    result = evaluate_wider_face(predictions, faces, masks)
    assert set(result.settings) == {"easy", "unlisted"}
    assert result.settings["easy"].ap == 1.0
    assert result.settings["unlisted"].ap == 0.5
    assert result.settings["easy"].n_pictures == 1
    assert result.settings["easy"].event_ap == {"a": 1.0}


def test_nothing_found_gives_zero() -> None:
    faces, masks = {"a/1.jpg": np.array([[0, 0, 9, 9]])}, {"a/1.jpg": {"easy": [True]}}
    for predictions in ({}, {"a/1.jpg": np.empty((0, 5))}):
        result = evaluate_wider_face(predictions, faces, masks)
        assert result.settings["easy"].ap == 0.0
        assert result.n_predictions == 0
    assert evaluate_wider_face({}, faces, masks).missing == ("a/1.jpg",)


def test_no_face_leaves_the_setting_out() -> None:
    rows = {"a/1.jpg": np.array([[0, 0, 9, 9, 0.5]])}
    assert (
        evaluate_wider_face(rows, {"a/1.jpg": np.empty((0, 4))}, {"a/1.jpg": {"easy": []}}).settings
        == {}
    )
    assert evaluate_wider_face({}, {}, {}).settings == {}


def test_predictions_of_unknown_pictures_are_named_and_left_out() -> None:
    faces, masks = {"a/1.jpg": np.array([[0, 0, 9, 9]])}, {"a/1.jpg": {"easy": [True]}}
    row = np.array([[0, 0, 9, 9, 0.5]])
    assert evaluate_wider_face({"a/1.jpg": row, "a/2.jpg": row}, faces, masks).unknown == (
        "a/2.jpg",
    )
    with pytest.raises(InputError, match=r"None of the 1 predicted pictures .* 'a/1'"):
        evaluate_wider_face({"a/1": row}, faces, masks)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0, 1, 1, np.nan]], r"predictions of a/1.jpg .* not finite in row 0"),
        ([[0, 0, 1, 1]], r"predictions of a/1.jpg must have shape \(N, 5\), got \(1, 4\)"),
    ],
)
def test_bad_predictions_are_refused(rows: list[list[float]], message: str) -> None:
    faces, masks = {"a/1.jpg": np.array([[0, 0, 9, 9]])}, {"a/1.jpg": {"easy": [True]}}
    with pytest.raises(InputError, match=message):
        evaluate_wider_face({"a/1.jpg": rows}, faces, masks)


def test_a_mask_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"setting easy for a/1.jpg must have shape \(1,\)"):
        evaluate_wider_face(
            {}, {"a/1.jpg": np.array([[0, 0, 9, 9]])}, {"a/1.jpg": {"easy": [True, True]}}
        )


def test_equal_scores_count_at_every_threshold() -> None:
    scores = normalize_scores(np.full(3, 0.25))
    assert scores.tolist() == [1, 1, 1]
    curve = precision_recall(scores, np.ones(3, np.bool_), np.array([True, False, True]), 4)
    np.testing.assert_allclose(curve, np.tile([2 / 3, 0.5], (1000, 1)))


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 1000).map(float)))
def test_thresholds_are_compared_exactly(steps: Floats) -> None:
    scores = steps / 1000
    flags = np.ones(len(scores), np.bool_)
    curve = precision_recall(scores, flags, flags, 1)
    expected = [(scores >= 1 - t / 1000).sum() for t in range(1, 1001)]
    np.testing.assert_array_equal(curve[:, 1], expected)


@given(st.integers(0, 2**32 - 1))
def test_average_precision_equals_the_naive_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    recall = np.sort(random.choice([0, 0.1, 0.2, 0.5, 0.7, 1], 20))
    precision = np.where(recall == 0, np.nan, random.random(20))
    got = average_precision(precision, recall)
    assert got == pytest.approx(naive_average_precision(precision, recall))

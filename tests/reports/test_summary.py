from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from secateur.errors import InputError
from secateur.reports.summary import KEYS, read_summary, write_summary


def test_a_record_is_flat_ordered_and_complete(tmp_path: Path) -> None:
    record = {
        "zebra": 1,
        "ap_easy": torch.tensor(0.5),
        "ap_hard_start": np.float64(0.25),
        "params_dense": np.int64(92208),
        "model": "eresfd",
        "rates": {"g1": 0.5},
        "criterion": None,
        "latency_ms_slim": float("nan"),
    }
    path = write_summary(tmp_path / "summary.json", record)
    expected = {
        "model": "eresfd",
        "rates": {"g1": 0.5},
        "params_dense": 92208,
        "ap_easy": 0.5,
        "ap_hard_start": 0.25,
        "zebra": 1,
    }
    assert list(json.loads(path.read_text()).items()) == list(expected.items())
    assert read_summary(path) == expected


def test_keys_are_those_of_a_run_folder() -> None:
    assert len(set(KEYS)) == len(KEYS)
    assert KEYS[:3] == ("task", "model", "criterion")
    assert {"ap_unlisted_masked", "tar_at_far_1e-3_start", "slim_max_abs_diff"} <= set(KEYS)


def test_a_nested_value_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="ap_easy must be a number or text, got list"):
        write_summary(tmp_path / "summary.json", {"ap_easy": torch.zeros(2)})


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[]", "record"), (None, "has not finished")]
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "summary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_summary(path)

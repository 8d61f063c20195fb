"""No damaged file ends in anything but a good value or one sentence."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from secateur.errors import InputError
from tests.fuzz.damage import damage
from tests.fuzz.targets import TARGETS, Target

QUICK = 12  # inputs for each parser here; `make fuzz` tries as many as there is time for
SLOWEST = 2.0  # seconds


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_damage_is_one_sentence(tmp_path: Path, target: Target) -> None:
    target.write(tmp_path)
    target.read(tmp_path)
    path = tmp_path / target.file
    good = path.read_bytes()
    # Other seeds than those of `make fuzz`, which begins at 0.
    for seed in range(1_000_000, 1_000_000 + QUICK):
        path.write_bytes(damage(good, random.Random(seed), target.is_text))
        started = time.process_time()
        try:
            target.read(tmp_path)
        except InputError as error:
            sentence = str(error)
            assert "\n" not in sentence, sentence
            assert "Traceback" not in sentence
        assert time.process_time() - started < SLOWEST

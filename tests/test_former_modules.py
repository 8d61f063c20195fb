"""Programs written for the first house find its modules under their former names."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

from secateur.former_modules import FORMER


def test_every_former_name_leads_to_a_module_that_is_there() -> None:
    for former, now in FORMER.items():
        assert find_spec(now) is not None, former


def test_a_former_name_gives_what_the_module_holds_now() -> None:
    with pytest.warns(DeprecationWarning, match=r"secateur\.data\.insightface_rec now"):
        former = import_module("secateur.data.record_io")
    assert former.read_property is import_module("secateur.data.insightface_rec").read_property

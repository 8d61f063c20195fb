"""The examples in docstrings: each is run, and prints what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import secateur

SOURCE = Path(secateur.__path__[0])
MODULES = sorted(
    ".".join(("secateur", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in SOURCE.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_print_what_they_say(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0

"""Every number and switch of conf/ has a kind and a range, and a wrong one is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from secateur.errors import InputError
from secateur.workflows.cli import run_command
from secateur.workflows.config.setting_ranges import (
    NUMBERS,
    SWITCHES,
    check_settings,
    settings_in,
    wanted_of,
)

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf"
FILES = [
    path
    for path in CONF.glob("**/*.yaml")
    if path.relative_to(CONF).parts[0] not in ("hydra", "paths", "experiment", "local")
]


def values_of(path: Path) -> Iterator[tuple[str, object]]:
    text = path.read_text()
    content = OmegaConf.to_container(OmegaConf.create(text)) or {}  # it reads 1e-3 as a number
    assert isinstance(content, dict)
    content.pop("defaults", None)
    group = "" if "@package _global_" in text or path.parent == CONF else path.parent.name
    return settings_in({group: content} if group else content)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CONF)) for path in FILES])
def test_every_number_and_switch_has_a_range_and_keeps_it(path: Path) -> None:
    for key, value in values_of(path):
        assert wanted_of(key, value) is None or "${" in str(value), key
        # objects of the network check their own
        own = key.startswith(("model.", "callbacks.", "logger.", "rates.", "hydra."))
        if isinstance(value, bool | int | float) and not own and path.parent.name != "group_rates":
            known = wanted_of(key, object()) is not None or key.endswith("_partial_")
            assert known or key in ("trainer.devices",), key


def test_no_pattern_is_left_over() -> None:
    keys = {key for path in FILES for key, _ in values_of(path)}
    set_later = {"data.validate_on_holdout", "data.holdout"}

    for pattern in (*NUMBERS, *SWITCHES):
        used = any(fnmatchcase(key, pattern) for key in keys)
        assert used or pattern in set_later, pattern


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("rate: abc", "rate=abc must be a number of at least 0 and below 1"),
        ("rate: null", "rate=None must be a number of at least 0 and below 1"),
        ("rate: [0.3]", "rate=[0.3] must be a number of at least 0 and below 1"),
        ("seed: -1", "seed=-1 must be a whole number of at least 0 and at most 4,294,967,295"),
        ("seed: 1.5", "seed=1.5 must be a whole number"),
        ("data: {batch_size: 1e99}", "data.batch_size=1e+99 must be a whole number"),
        ("data: {input_size: .nan}", "data.input_size=nan must be a whole number"),
        ("backends: []", "backends=[] must be a list of names with at least one"),
        ("networks: 3", "networks=3 must be a list of run folders and files"),
        ("columns: nope", "columns=nope must be a list of names with at least one, or null"),
        ("sizes: [480, 640]", "sizes=[480, 640] must be a list of pairs of height and width"),
        ("source: ''", "source= must be a text that is not empty, or null"),
        (
            "source: ['http://a.org/1.jpg', 'b.jpg']",
            "source=['http://a.org/1.jpg', 'b.jpg'] must be one picture, folder or pattern on this",
        ),
        ("draw: 3", "draw=3 must be true or false"),
        ("limit: 0", "limit=0 must be a whole number of at least 1 or null"),
        ("train_steps: many", "train_steps=many must be a whole number of at least 0 or epoch"),
    ],
)
def test_a_wrong_setting_is_told_with_its_range(setting: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        check_settings(OmegaConf.create(setting))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("command", ["train", "search", "evaluate", "detect", "export"])
def test_every_command_checks_before_it_works(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"detect": "min_score=2", "export": "limits.max_faces=-1"}.get(command, "seed=-1")
    arguments = [f"{command}.py", wrong]
    if command in ("search", "detect"):
        arguments += ["weights=x", *(["source=x"] if command == "detect" else [])]
    monkeypatch.setattr(sys, "argv", arguments)

    def workflow(_: object) -> None:
        raise AssertionError("it was not checked")

    with pytest.raises(SystemExit) as stopped:
        run_command(command, workflow)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {wrong} must be ")

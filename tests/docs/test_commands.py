"""Every command on the pages composes: its keys exist, its choices are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from secateur.workflows.cli import COMMANDS
from secateur.workflows.command_line.arguments import with_folders

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALL = re.compile(r"^(?:python (\w+)\.py|secateur (\w+))\s+(.*)$")
# of a project that a page makes as it goes along
OF_A_PAGE = (
    "model=tiny",
    "callbacks=mine",
    "callbacks=mask_counter",
    "data=my_faces",
    "pruning=largest_weight",
)


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Command and arguments of every call in a block of code or between single ticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|text)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    found = []
    for line in lines:
        match = CALL.match(line.strip().replace(r"\|", "|"))
        if match and (match[1] or match[2]) in COMMANDS:
            found.append((match[1] or match[2], shlex.split(match[3], comments=True)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_compose(page: Path) -> None:
    seen = set()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for command, arguments in commands(page):
            if command == "search" and arguments[:1] == ["sensitivity"]:
                command, arguments = "sensitivity", arguments[1:]
            if command == "compare":
                arguments = with_folders(arguments)
            overrides = [first_value(a) for a in arguments if "=" in a and "..." not in a]
            key = (command, *overrides)
            if key in seen or set(OF_A_PAGE) & set(overrides):
                continue
            seen.add(key)
            compose(command, overrides, return_hydra_config=True)


def first_value(argument: str) -> str:
    """The override of the first job where an argument is a sweep."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    if not override.is_sweep_override():
        return argument
    if not override.is_discrete_sweep():
        return f"{override.get_key_element()}=0.1"
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"

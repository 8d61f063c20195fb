"""The page reference/configuration.md, made of the YAML files of conf/ and their comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = "reference/configuration.md"
CONF = Path(__file__).parents[1] / "conf"
FIRST = ("train", "search", "sensitivity", "evaluate", "detect", "embed", "export")


def configuration_page(conf: Path = CONF) -> str:
    """Every file of ``conf/`` with its comments: commands first, then a section per group.

    Args:
        conf: Folder of the configuration.

    Returns:
        Markdown.
    """
    lines = [
        "# Configuration",
        "",
        "Every file as it is, comments included. `python train.py --cfg job` prints what a command",
        "line composes of them; `GROUP=NAME` chooses a file, `KEY=VALUE` sets a value.",
    ]
    named = [conf / f"{command}.yaml" for command in FIRST]
    named += sorted(set(conf.glob("*.yaml")) - set(named))
    lines += ["", "## Commands"]
    for path in [path for path in named if path.is_file()]:
        lines += _section(path, f"`{path.stem}.py`")
    groups = sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "experiment")
    for group in groups:
        files = sorted(group.rglob("*.yaml"))
        if files:
            lines += ["", f"## {group.name}"]
        for path in files:
            lines += _section(path, f"`{group.name}={path.relative_to(group).with_suffix('')}`")
    return "\n".join(lines) + "\n"


def _section(path: Path, title: str) -> list[str]:
    """A heading and the file."""
    return ["", f"### {title}", "", "```yaml", path.read_text(encoding="utf-8").rstrip(), "```"]


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401  objects of MkDocs
    """Add the page to the site (hook of MkDocs)."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=configuration_page()))
    return files

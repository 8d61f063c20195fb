"""``--help``: made of the comments in the command's own YAML file, so it is never outdated."""

from __future__ import annotations

import re

from secateur.workflows.command_line.arguments import CONF, DEBUG, user_conf

_GROUP = re.compile(
    r"  - (?:optional )?(?P<group>[\w/]+)(?:@\S+)?: (?P<value>\S+)\s*(?:# (?P<about>.*))?"
)
_KEY = re.compile(r"(?P<key>[a-z_]\w*):\s*(?P<value>[^#]*?)\s*(?:# (?P<about>.*))?")
_HIDDEN = ("paths", "command", "local", "_self_", "recipe")
_TAIL = """\
  --cfg job          print the composed configuration and stop      print_config=true  and go on
  --info             where each part of it comes from               --hydra-help  more of Hydra
  -m KEY=A,B         every combination, one run each{debug}

Tab completion for this shell:  eval "$(python {command}.py -sc install=bash)"
"""


def help_text(command: str) -> str:
    """What ``--help`` of a command prints.

    Args:
        command: Name of its primary file in ``conf/``.

    Returns:
        Purpose and examples, then every group with its options, then every key.
    """
    lines = (CONF / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").removeprefix(" "))
    groups, keys = _groups(lines), _keys(lines)
    parts = ["\n".join(head)]
    if groups:
        parts.append("Choices (NAME=OPTION; the first shown is the default):")
    for name, value, about in groups:
        options = _options(name, value)
        if name == "debug":
            others = {option for names in DEBUG.values() for option in names}
            own = [one for one in options if one not in {"null", *DEBUG[command], *others}]
            options = ["none", *(one for one in DEBUG[command] if one != "none"), *own]
        parts.append(f"  {name:<14} {' '.join(options)}")
        if about:
            parts.append(f"  {'':<14}   {about}")
    parts.append("\nValues (KEY=VALUE):")
    for key, value, about in keys:
        shown = f"{key}={value}"
        parts.append(f"  {shown:<26} {about}" if len(shown) < 26 else f"  {shown}\n{'':<29}{about}")
    debug = f"{'':<16}debug=fast  all of it in seconds" if command in DEBUG else ""
    parts.append("\n" + _TAIL.format(command=command, debug=debug))
    return "\n".join(parts)


def known_names(command: str) -> list[str]:
    """Keys and groups of a command, for a hint at a misspelt one."""
    lines = (CONF / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    return [name for name, _, _ in (*_groups(lines), *_keys(lines))]


def meaning(command: str, key: str) -> str:
    """What the file of a command says of a key; nothing for one that it does not have."""
    lines = (CONF / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    return next((about for name, _, about in _keys(lines) if name == key), "")


def _groups(lines: list[str]) -> list[tuple[str, str, str]]:
    """Group, default and comment of each entry of the defaults list."""
    found = []
    for line in lines:
        match = _GROUP.fullmatch(line.rstrip())
        if match and match["group"] not in _HIDDEN:
            found.append((match["group"], match["value"], match["about"] or ""))
    return found


def _keys(lines: list[str]) -> list[tuple[str, str, str]]:
    """Key, default and comment of each value of the file; comments may go on in the next line."""
    found: list[tuple[str, str, str]] = []
    prefix = ""
    for line in lines:
        bare = line.strip()
        if bare.startswith("#") and found and line.startswith(" "):
            key, value, about = found[-1]
            found[-1] = (key, value, f"{about} {bare.lstrip('# ')}".strip())
            continue
        match = _KEY.fullmatch(bare)
        if match is None or match["key"] in ("defaults", "hydra"):
            prefix = "hydra." if match and match["key"] == "hydra" else prefix
            continue
        indented = line.startswith(" ")
        if not indented:
            prefix = ""
        if indented and not prefix:
            continue
        if not indented and not match["value"]:
            prefix = f"{match['key']}."
            if match["about"]:
                found.append((match["key"], "", match["about"]))
            continue
        if prefix != "hydra.":
            found.append((prefix + match["key"], match["value"], match["about"] or ""))
    return found


def _options(group: str, default: str) -> list[str]:
    """Options of a group, the default first; those of the user's project with ours."""
    names = []
    for conf in (CONF, user_conf()):
        folder = None if conf is None else conf / group
        if folder is not None and folder.is_dir():
            names += [
                path.relative_to(folder).with_suffix("").as_posix()
                for path in sorted(folder.rglob("*.yaml"))
            ]
    shown = [name for name in dict.fromkeys(names) if name not in (default, "default")]
    if len(shown) > 14:
        folders = dict.fromkeys(name.partition("/")[0] + "/..." for name in shown if "/" in name)
        shown = [name for name in shown if "/" not in name] + list(folders)
    return [default, *shown]

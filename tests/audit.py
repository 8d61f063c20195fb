"""Known holes in the pinned packages, where a registry answers: ``python -m tests.audit``.

pip-audit is fetched for it, into a folder of its own beside the environment: where there is no
network nothing is missing, and nothing is audited, which a line says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOL = Path(sys.prefix) / "audit"
_LIMIT = 300  # seconds


def main() -> int:
    """Audit, print what is found, and return how many packages have a hole."""
    report = audit()
    if report is None:
        print("packages not audited: no registry answers here")
        return 0
    found = holes(report)
    for line in found:
        print(line)
    known, unknown = len(audited(report)), len(report["dependencies"]) - len(audited(report))
    left_out = f", {unknown} not known there" if unknown else ""
    print(f"{known} packages audited, {len(found)} with known holes{left_out}")
    return len(found)


def audit() -> dict[str, Any] | None:
    """What pip-audit says of ``constraints.txt``; None if it cannot be had or gets no answer."""
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0"]
    try:
        if not (TOOL / "pip_audit").is_dir():
            fetch = [*install, "--timeout", "10", "--target", str(TOOL), "pip-audit>=2.7"]
            subprocess.run(
                [sys.executable, *fetch], check=True, capture_output=True, timeout=_LIMIT
            )
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"),
                *("--requirement", str(ROOT / "constraints.txt")),
                *("--format", "json", "--progress-spinner", "off", "--timeout", "10"),
            ],
            env={**os.environ, "PYTHONPATH": str(TOOL)},
            check=False,  # its status is 1 for a hole and for a registry that does not answer
            capture_output=True,
            text=True,
            timeout=_LIMIT,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None
    # A mirror that holds packages and no advisories says of each that it is not found.
    return report if audited(report) else None


def audited(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The packages that the registry knows anything about.

    >>> audited({"dependencies": [{"name": "a", "skip_reason": "not found"}]})
    []
    """
    return [one for one in report.get("dependencies") or [] if "skip_reason" not in one]


def holes(report: dict[str, Any]) -> list[str]:
    """One line for each package with known holes.

    >>> holes({"dependencies": [{"name": "a", "version": "1", "vulns": [
    ...     {"id": "PYSEC-1", "fix_versions": ["1.1"]}]}, {"name": "b", "vulns": []}]})
    ['a 1: PYSEC-1 (mended in 1.1)']
    """
    lines = []
    for package in report["dependencies"]:
        known = [
            f"{hole['id']} (mended in {', '.join(hole.get('fix_versions') or ['no version yet'])})"
            for hole in package.get("vulns") or []
        ]
        if known:
            lines.append(f"{package['name']} {package.get('version', '')}: {', '.join(known)}")
    return lines


if __name__ == "__main__":
    sys.exit(bool(main()))

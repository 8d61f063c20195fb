"""An audit of packages fails for a hole, and never for want of a registry."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests import audit

GOOD = '{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}'
SKIPPED = '{"dependencies": [{"name": "a", "skip_reason": "not found on PyPI"}]}'
BAD = (
    '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X", "fix_versions": []}]}]}'
)


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        (GOOD, 0, "1 packages audited, 0 with known holes"),
        (BAD, 1, "a 1: X (mended in no version yet)"),
        ("", 0, "no registry answers"),
        ("{}", 0, "no registry answers"),
        (SKIPPED, 0, "no registry answers"),
    ],
)
def test_a_hole_fails_and_silence_does_not(
    output: str,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*_: object, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, output, "")

    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.main() == status
    assert said in capsys.readouterr().out


def test_a_machine_without_network_is_not_audited(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: Any) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(audit.subprocess, "run", offline)
    assert audit.main() == 0
    assert "no registry answers" in capsys.readouterr().out

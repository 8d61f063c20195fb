"""Ctrl-C ends a command with status 130 and one sentence, whatever it breaks off."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secateur.errors import InputError
from secateur.workflows.cli import run_command

ROOT = Path(__file__).parents[2]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def plain(_: object) -> None:
    interrupt()


def in_an_import(_: object) -> None:
    try:
        interrupt()
    except BaseException as error:
        raise ImportError("initialization failed") from error


def in_what_is_told(_: object) -> None:
    try:
        interrupt()
    except BaseException as error:
        raise InputError("half of a file") from error


class Finalized:
    def __del__(self) -> None:
        interrupt()


def in_a_finalizer(_: object) -> None:
    Finalized()  # Python drops what is raised there
    time.sleep(5)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("workflow", [plain, in_an_import, in_what_is_told, in_a_finalizer])
def test_ctrl_c_is_one_sentence(
    workflow: Callable[[object], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py")])
    started = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        run_command("train", workflow)
    assert stopped.value.code == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "stopped, the same command goes on"
    assert time.monotonic() - started < 60

"""Tasks of recovery outside of a Trainer."""

from __future__ import annotations

from typing import Any

import pytest


class Logged:
    """To be put before a task: what the task would log is kept."""

    logged: dict[str, float]

    def log_dict(self, values: Any, **_: Any) -> None:
        self.logged = {name.removeprefix("train/"): float(value) for name, value in values.items()}

    def log(self, *_: Any, **__: Any) -> None:
        pass

    @property
    def trainer(self) -> Any:
        return None


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Trainer, no check of the loss that would ask it for its epoch."""
    monkeypatch.setattr("secateur.training_steps.check_loss", lambda *_: None)

"""What an offline run of Weights & Biases holds, read back from disk."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class OfflineRun:
    """Name, place, and what was told."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    logged: set[str] = field(default_factory=set)
    artifacts: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None


def read_offline_runs(folder: Path) -> list[OfflineRun]:
    """The runs below ``folder/wandb``, in the order of their start.

    A process of its own writes them, and may be at it for a moment after the run has finished.
    """
    runs = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        until = time.monotonic() + 20
        while (run := read_offline_run(path)).exit_code is None and time.monotonic() < until:
            time.sleep(0.1)
        runs.append(run)
    return runs


def read_offline_run(path: Path) -> OfflineRun:
    """One file; its records are length-prefixed in blocks of a LevelDB log."""
    from wandb.proto import wandb_internal_pb2

    run = OfflineRun()
    for payload in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.group, run.job_type = record.run.run_group, record.run.job_type
            run.tags = list(record.run.tags)
            run.config |= _items(record.run.config.update)
        elif kind == "config":
            run.config |= _items(record.config.update)
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "history":
            run.logged |= {item.key or item.nested_key[0] for item in record.history.item}
        elif kind == "artifact":
            run.artifacts[record.artifact.name] = record.artifact.type
        elif kind == "request" and record.request.HasField("log_artifact"):
            artifact = record.request.log_artifact.artifact
            run.artifacts[artifact.name] = artifact.type
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> list[bytes]:
    """Payloads of a log in blocks of 32 kB: checksum, length, kind of part, data."""
    found, part, at, block = [], b"", 7, 32768  # 7 bytes of a header of its own
    while at + 7 <= len(content):
        left = block - at % block
        if left < 7:
            at += left
            continue
        length = int.from_bytes(content[at + 4 : at + 6], "little")
        kind = content[at + 6]
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(part)
            part = b""
    return found

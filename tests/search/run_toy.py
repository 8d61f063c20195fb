"""A search as a program of its own, to be killed by tests: folder, trials, workers, seconds."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from toy import toy_assignment

from secateur.search.workers import run_workers

if __name__ == "__main__":
    folder, n_trials, n_workers, seconds, *storage = sys.argv[1:]
    job = toy_assignment(
        Path(folder),
        int(n_trials),
        seconds=float(seconds),
        storage=storage[0] if storage else None,
        crowd=2 if storage else 1,
    )
    study = run_workers(job, int(n_workers))
    print(study.counts())

"""``python -m benchmarks [--fresh] [NAME ...]``: run some or all of the programs in this folder.

Long tables keep their rows in ``NAME.jsonl``, so a run measures what is missing and writes the
table; ``--fresh`` throws the rows of the programs named away and measures them all again.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import benchmarks

HELPERS = {"__main__", "naive", "results", "side_by_side"}


def main() -> None:
    """Run the programs named on the command line, or all of them."""
    known = [
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in HELPERS
    ]
    fresh, named = "--fresh" in sys.argv, [word for word in sys.argv[1:] if word != "--fresh"]
    unknown = sorted(set(named) - set(known))
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]}; choose from {', '.join(known)}")
    if fresh and not named:
        sys.exit(f"error: --fresh takes hours for all; name some of {', '.join(known)}")
    sys.argv[1:] = []  # a program that is run by itself takes arguments of its own
    for name in named or known:
        print(f"\n{name}", flush=True)
        if fresh:
            (Path(__file__).parent / f"{name}.jsonl").unlink(missing_ok=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

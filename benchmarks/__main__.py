"""``python -m benchmarks [NAME ...]``: run some or all of the programs in this folder."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

HELPERS = {"__main__", "naive", "readme", "side_by_side"}


def main() -> None:
    """Run the programs named on the command line, or those that take minutes, not hours."""
    known = [
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in HELPERS
    ]
    wanted = sys.argv[1:] or known
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]}; choose from {', '.join(known)}")
    for name in wanted:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

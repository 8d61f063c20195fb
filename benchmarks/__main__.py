"""``python -m benchmarks [NAME ...]``: run some or all of the programs in this folder."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

HELPERS = {"__main__", "naive", "readme", "results", "side_by_side"}
# what runs without a name: a minute or two; the others take files, or hours for whole tables
SHORT = ("detection", "verification")


def main() -> None:
    """Run the programs named on the command line, or the short ones."""
    known = [
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in HELPERS
    ]
    wanted = sys.argv[1:] or list(SHORT)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]}; choose from {', '.join(known)}")
    print(f"running {', '.join(wanted)}; all there are: {', '.join(known)}\n", flush=True)
    for name in wanted:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()

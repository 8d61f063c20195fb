"""Search the rates of groups for a size, or look at each layer alone: ``python search.py --help``.

``python search.py sensitivity model=... weights=...`` prunes every layer and group alone.
"""

import sys

if __name__ == "__main__":
    # Workers import this file again: what a search needs, they fetch themselves.
    from secateur.workflows.cli import run_command

    command = "sensitivity" if sys.argv[1:2] == ["sensitivity"] else "search"
    if command == "sensitivity":
        del sys.argv[1]
    run_command(command)

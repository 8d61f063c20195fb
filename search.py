"""Search the rates of groups for a size: ``python search.py --help``."""

if __name__ == "__main__":
    # Workers import this file again: what a search needs, they fetch themselves.
    from secateur.workflows.cli import run_command
    from secateur.workflows.search import search

    run_command("search", search)

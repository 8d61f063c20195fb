"""Measure average precision of a network, a run or prediction files: ``python evaluate.py``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("evaluate")

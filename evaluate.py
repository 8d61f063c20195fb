"""Measure average precision of a network, a run or prediction files: ``python evaluate.py``."""

from secateur.workflows.cli import run_command
from secateur.workflows.evaluate.faces import evaluate

if __name__ == "__main__":
    run_command("evaluate", evaluate)

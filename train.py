"""Train a face model while pruning it, slim it and measure it: ``python train.py --help``."""

from secateur.workflows.cli import run_command
from secateur.workflows.train import train

if __name__ == "__main__":
    run_command("train", train)

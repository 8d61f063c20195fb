"""Train a face model while pruning it, slim it and measure it: ``python train.py --help``."""

if __name__ == "__main__":
    # Workers of a search import this file again: what it needs, they fetch themselves.
    from secateur.workflows.cli import run_command

    run_command("train")

"""Embed faces, compare two, or search a folder: ``python embed.py run=latest source=FOLDER``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("embed")

"""Export a network for devices: ``python export.py run=latest format=onnx``."""

if __name__ == "__main__":
    from secateur.workflows.cli import run_command

    run_command("export")

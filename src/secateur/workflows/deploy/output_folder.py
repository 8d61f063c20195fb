"""Where the results of a command go: a folder that is there while something comes into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from secateur.errors import InputError
from secateur.files import new_folder


def output_folder(config: DictConfig, name: str) -> Path:
    """The folder that ``output_dir=`` names, or one of this moment under ``outputs/``.

    Args:
        config: Composed configuration of a command.
        name: What to call the folder around it, such as ``detect-eresfd``.
    """
    if config.output_dir is not None:
        return Path(str(config.output_dir))
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return Path(str(config.paths.outputs)) / name / stamp


@contextmanager
def writable(folder: Path) -> Iterator[Path]:
    """Make a folder and try it; a command that is refused leaves none that is empty.

    Args:
        folder: Need not exist, nor its parents.

    Yields:
        The folder.

    Raises:
        InputError: If nothing can be written to it.
    """
    probe = folder / ".writable"
    with ExitStack() as stack:
        try:
            stack.enter_context(new_folder(folder))
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written to ({error.strerror}); set another output_dir"
            ) from error
        yield folder

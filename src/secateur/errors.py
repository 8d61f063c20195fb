"""What is meant for the person at the keyboard: one exception, and sentences about the machine."""

from __future__ import annotations

import errno
import re
from pathlib import Path


class InputError(ValueError):
    """Input that the user can mend: a file, a path, a name or a number.

    The message is one sentence that names the offender and the remedy. Entry points print it
    without a traceback and exit with status 2.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(without_traceback(message))


class Interrupted(BaseException):
    """Ctrl-C, as what no library on the way takes for itself.

    Lightning ends the process with status 1 on `KeyboardInterrupt` and ignores a second Ctrl-C.
    """


class WriteError(InputError):
    """A file that could not be written; what was there before is still whole."""


# How torch words an error of a loading process: it makes another of its type around all this.
_CAUGHT = re.compile(r"Caught (\w+) in [^\n]*\.\nOriginal Traceback ")


def without_traceback(message: str) -> str:
    """The sentence alone, where a loading process put its whole traceback around it.

    Args:
        message: Message of an exception.

    Returns:
        What the exception said where it was raised; any other message as it is.
    """
    found = _CAUGHT.match(message)
    if not found:
        return message
    return message.rpartition(f"{found.group(1)}: ")[2].strip() or message


_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space there",
    errno.EDQUOT: "your quota there is used up: free some space",
    errno.EROFS: "that disk is read-only: choose another folder with output_dir=",
    errno.EACCES: "you may not write there: choose another folder with output_dir=",
    errno.EPERM: "you may not write there: choose another folder with output_dir=",
    errno.ENOTDIR: "a part of that path is a file and no folder: choose another path",
    errno.EEXIST: "there is a file of that name where a folder is wanted: choose another path",
    errno.EISDIR: "there is a folder of that name where a file is wanted: choose another path",
    errno.ENOENT: "its folder was deleted meanwhile: leave the folder of a running command alone",
    errno.ENAMETOOLONG: "that name is too long for the file system: choose a shorter path",
    errno.EIO: "the disk reports an input/output error: check it, or choose another one",
    errno.ESTALE: "the network file system lost that file: check the mount",
    errno.EMFILE: "too many files are open: raise the limit with ulimit -n 4096",
    errno.EFBIG: "the file system takes no file that large: choose another one",
}


def write_error(path: str | Path, error: OSError) -> WriteError:
    """Say in one sentence why a file cannot be written, and what to do.

    Args:
        path: The file or folder that was to be written.
        error: What the operating system said.

    Returns:
        The exception to raise.
    """
    cause = _CAUSES.get(error.errno or 0, f"{error.strerror or error}: check the disk")
    return WriteError(f"{path} cannot be written, because {cause}; then give the command again")


_NO_MEMORY = re.compile(r"out of memory|can't allocate memory", re.IGNORECASE)


def machine_sentence(error: BaseException) -> str | None:
    """One sentence for an error of the machine that nobody on the way knew how to name.

    Args:
        error: What was raised.

    Returns:
        The sentence, with a remedy that can be followed; None for any other error.
    """
    text = without_traceback(str(error))
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return (
            "there is not enough memory: take a smaller data.batch_size, data.input_size or "
            "data.num_workers, or close other programs, and give the command again"
        )
    if type(error).__name__ == "MisconfigurationException" or "conditioned on metric" in text:
        return " ".join(text.split())  # Lightning's own about a setting, such as what to monitor
    if type(error).__name__ == "FailedJobError":
        return (
            f"the cluster takes no job ({' '.join(text.split())[:300]}): is Slurm set up on this "
            "machine? without it, leave hydra/launcher out or say hydra/launcher=joblib"
        )
    if isinstance(error, OSError):
        return _system_sentence(error, text)
    if isinstance(error, RuntimeError) and "DataLoader timed out" in text:
        return (
            "no picture came for ten minutes: check the disk or network drive of data.root, and "
            "give the command again"
        )
    if isinstance(error, RuntimeError) and "DataLoader worker" in text:
        return (
            "a process that loads pictures was killed, perhaps for lack of memory: give the "
            "command again with data.num_workers=0"
        )
    return None


def _system_sentence(error: OSError, text: str) -> str:
    """One sentence for what the operating system says."""
    path = error.filename2 or error.filename
    what = "a file" if path is None else str(path)
    if error.errno == errno.ENOMEM:
        return str(machine_sentence(MemoryError()))
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return str(write_error(what, error))
    if error.errno == errno.ENOENT:
        return (
            f"{what} does not exist, or was deleted while it was needed: put it back, or name "
            "another path, and give the command again"
        )
    reason = error.strerror or text or type(error).__name__
    return f"{what} cannot be used ({reason}): check the path, its rights and its disk"

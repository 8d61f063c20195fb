"""Locks that keep two processes out of one folder."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


# what file systems answer that know no locks, such as Lustre mounted without flock
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def locked(path: Path, busy: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of a file; that of a killed process is gone with it.

    Args:
        path: The file; it is made if it is not there, and stays.
        busy: Called if another process holds the lock. If it returns, the lock is waited for.

    Raises:
        OSError: If the file cannot be opened.
    """
    with path.open("a") as file:
        try:
            _lock(file.fileno(), busy)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning(
                "%s: this file system has no locks; let one command at a time work there",
                path.parent,
            )
            yield
            return
        try:
            yield
        finally:
            # Forked processes share the lock, and closing the file here would not end it for them.
            fcntl.flock(file, fcntl.LOCK_UN)


def _lock(descriptor: int, busy: Callable[[], object]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy()
        fcntl.flock(descriptor, fcntl.LOCK_EX)

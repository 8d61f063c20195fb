"""Where a study is kept: a journal file that processes share, or a database."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from secateur.errors import InputError

_ATTEMPTS = 5
_GRACE = 10  # seconds after which the lock of a killed process is taken over


def open_storage(location: str | Path) -> BaseStorage:
    """Open the storage of a study; it is made if it is not there.

    Args:
        location: Path of a journal file, on a file system that all machines see, or the URL of a
            database such as ``postgresql://user@host/name``.

    Returns:
        A storage that many processes may use at once.

    Raises:
        InputError: If the database cannot be reached.
    """
    text = str(location)
    if "://" not in text:
        path = Path(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileOpenLock(str(path), grace_period=_GRACE)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    scheme, _, rest = text.partition("://")
    if scheme in ("postgres", "postgresql") and importlib.util.find_spec("psycopg"):
        scheme = "postgresql+psycopg"  # SQLAlchemy would look for psycopg2
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for attempt in range(_ATTEMPTS):
        try:
            return RDBStorage(f"{scheme}://{rest}")
        except (ImportError, optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            if isinstance(error, IntegrityError | ProgrammingError) and attempt + 1 < _ATTEMPTS:
                # Two processes make the tables at once: the loser finds them when it looks again.
                time.sleep(1.0)
                continue
            raise InputError(
                f"storage={scheme}://... cannot be opened ({str(error).splitlines()[0]}): check "
                "host, user, name and that the driver is installed (pip install "
                "'secateur[cluster]' for PostgreSQL), or leave storage out for a journal file"
            ) from error
    raise AssertionError("not reached")

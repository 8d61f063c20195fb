"""The one exception that is meant for the person at the keyboard."""

from __future__ import annotations


class InputError(ValueError):
    """Input that the user can mend: a file, a path, a name or a number.

    The message is one sentence that names the offender and the remedy. Entry points print it
    without a traceback and exit with status 2.
    """

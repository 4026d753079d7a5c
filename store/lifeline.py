"""Children that end with their parent, however it ends (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: nothing may be loaded between fork and exec


def tie_to_parent(parent: int, death_signal: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process ``death_signal`` when its parent's thread ends.

    ``parent`` is the pid the parent had before the fork: if it is gone already, the kernel will
    never tell, so this process ends at once. Raises OSError where the kernel refuses.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        os._exit(1)


def lifeline(death_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """A ``preexec_fn`` that ties the child to this process.

    The kernel watches the *thread* that forks: start such children from the main thread.
    """
    parent = os.getpid()
    return lambda: tie_to_parent(parent, death_signal)

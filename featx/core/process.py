"""The one lock around everything that changes the state of the whole process."""

from __future__ import annotations

import threading

GLOBAL_STATE = threading.RLock()
"""Hold this lock while a library's global state is changed: traces by torch.fx and torch.jit,
warning filters, switches. Two threads that trace at once break torch for the whole process."""

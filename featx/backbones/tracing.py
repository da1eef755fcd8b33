"""One lock for tracing: torch.fx patches `torch.nn.Module` for the whole process meanwhile."""

from __future__ import annotations

import threading

TRACING_LOCK = threading.RLock()
"""Lock to hold while torch.fx traces a network."""

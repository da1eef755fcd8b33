"""The command ``featx``, also as ``python -m featx``: it looks out for signals, then imports."""

import os
import signal

from featx.core.endings import end_at_once, list_signals


def main() -> None:
    """Run the command line; see `featx.cli.main`."""
    for number in list_signals():
        signal.signal(number, end_at_once)
    try:
        from featx.cli import main as run
    except (ImportError, MemoryError, OSError) as error:  # too little memory, a broken installation
        got = " ".join(f"{type(error).__name__}: {error}".split())
        os.write(2, f"featx: expected to import the command line, got {got}\n".encode())
        os._exit(1)
    run()


if __name__ == "__main__":
    main()

"""The command ``featx``, also as ``python -m featx``: it looks out for signals, then imports.

``_signal`` is a part of Python itself. The module ``signal`` is a file that imports others, which
takes a tenth of the time until a command begins.
"""

import _signal  # type: ignore[import-not-found]


def main() -> None:
    """Run the command line; see `featx.cli.main`."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # ends the process without a traceback
    import os

    from featx.core.endings import end_at_once, list_signals

    for number in list_signals():
        _signal.signal(number, end_at_once)
    try:
        from featx.cli import main as run
    except (ImportError, MemoryError, OSError) as error:  # too little memory, a broken installation
        got = " ".join(f"{type(error).__name__}: {error}".split())
        os.write(2, f"featx: expected to import the command line, got {got}\n".encode())
        os._exit(1)
    run()


if __name__ == "__main__":
    main()

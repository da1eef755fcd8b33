"""Run by ``python -m featx``."""

from featx.cli import main

if __name__ == "__main__":
    main()

"""The files of a fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featx.core.errors import TuningError
from featx.core.files import check_destination, name_work_dir, remove_work_dir
from featx.core.inputs import check_not_read
from featx.core.typing import PathLike

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"
"""Names of the files in the folder of unfinished work."""


@dataclass(frozen=True, kw_only=True)
class TuningPaths:
    """The files that a fine-tuning writes.

    Attributes
    ----------
    output, head, log : Path
        Tuned weights, the head that belongs to them, and the log of epochs.
    folder : Path
        Folder of unfinished work.
    trunk : Path
        Cache with the output of the trunk.
    """

    output: Path
    head: Path
    log: Path
    folder: Path
    trunk: Path

    @classmethod
    def build(cls, output: PathLike, trunk: PathLike | None) -> TuningPaths:
        """Derive all paths from the path of the tuned weights.

        Parameters
        ----------
        output : path
            Tuned weights, ``.safetensors``.
        trunk : path or None
            Cache with the output of the trunk. Default: beside the output, ``.trunk.h5``.

        Raises
        ------
        TuningError
            If the output has another suffix.
        """
        output = Path(output)
        if output.suffix != ".safetensors":
            raise TuningError(
                subject=str(output),
                expected="a name that ends in .safetensors",
                got=f"one that ends in {output.suffix}" if output.suffix else "no suffix",
                remedy=f"Pass {output.with_suffix('.safetensors').name!r} as the output.",
            )
        return cls(
            output=output,
            head=output.with_suffix(".joblib"),
            log=output.with_suffix(".log.csv"),
            folder=name_work_dir(output),
            trunk=Path(trunk) if trunk is not None else output.with_suffix(".trunk.h5"),
        )

    def is_work(self, name: str) -> bool:
        """Tell whether a file in the folder of unfinished work belongs to that work."""
        return name in (CHECKPOINT, LOG, self.output.name)

    def describe_kept(self) -> str:
        """Say what an interrupted run keeps, and how to go on."""
        kept = [str(path) for path in (self.folder, self.trunk) if path.exists()]
        if not kept:
            return "no result was written; run the same again"
        return f"finished work is kept in {' and '.join(kept)}; run the same again with resume=True"

    def check(self, inputs: Iterable[PathLike], *, overwrite: bool, resume: bool) -> None:
        """Refuse, before any work is done, destinations that cannot be written or are inputs.

        Parameters
        ----------
        inputs : iterable of path
            Files that the run reads.
        overwrite : bool
            Replace existing outputs, and drop an unfinished run.
        resume : bool
            Continue an unfinished run.

        Raises
        ------
        TuningError
            If a destination cannot be written, is an input, or an unfinished run exists.
        """
        self.check_apart(inputs)
        # A run that was killed while it put its files in place may have left some of them. Whether
        # weights are those of a finished run is known only when the data have been read.
        is_ours = overwrite or (resume and (self.folder.exists() or self.output.exists()))
        for path in (self.output, self.head, self.log):
            check_destination(path, overwrite=is_ours, error=TuningError)
        check_destination(self.trunk, overwrite=True, error=TuningError)  # later runs add to it
        if self.folder.exists() and not resume:
            if not overwrite:
                raise TuningError(
                    subject=str(self.folder),
                    expected="no unfinished run",
                    got="one",
                    remedy="Pass resume=True to continue it, or overwrite=True to begin anew.",
                )
            remove_work_dir(self.folder, self.is_work)

    def check_apart(self, inputs: Iterable[PathLike]) -> None:
        """Refuse to replace a file that the run reads.

        Parameters
        ----------
        inputs : iterable of path
            Files that the run reads.

        Raises
        ------
        TuningError
            If a destination is one of the inputs.
        """
        read = [*inputs]
        for path in (self.output, self.head, self.log, self.trunk):
            check_not_read(path, read, error=TuningError)

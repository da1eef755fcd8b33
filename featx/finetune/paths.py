"""Where the files of a fine-tuning go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featx.core.errors import TuningError
from featx.core.files import check_destination, name_work_dir, remove_drafts


@dataclass(frozen=True)
class Paths:
    """Where everything goes.

    Attributes
    ----------
    output, head, log : Path
        What comes out.
    folder : Path
        Of unfinished work.
    trunk : Path
        What the trunk put out.
    """

    output: Path
    head: Path
    log: Path
    folder: Path
    trunk: Path

    @classmethod
    def build(cls, output: str | os.PathLike[str], trunk: str | os.PathLike[str] | None) -> Paths:
        """Derive all of them from the output's name.

        Raises
        ------
        TuningError
            If that is none for weights.
        """
        output = Path(output)
        if output.suffix != ".safetensors":
            raise TuningError(
                f"{output}: expected a name that ends in .safetensors, got another. Rename it."
            )
        return cls(
            output,
            output.with_suffix(".joblib"),
            output.with_suffix(".log.csv"),
            name_work_dir(output),
            Path(trunk) if trunk is not None else output.with_suffix(".trunk.h5"),
        )

    def check(
        self, inputs: Iterable[str | os.PathLike[str]], *, overwrite: bool, resume: bool
    ) -> None:
        """Refuse, before any work is done, what would fail after it, or replace what is read.

        Parameters
        ----------
        inputs : iterable of path
            What the run reads.
        overwrite, resume
            As `featx.fine_tune` takes them.

        Raises
        ------
        TuningError
        """
        self.check_apart(inputs)
        # A run that was ended while it put its files in place has left some of them.
        is_ours = overwrite or (resume and self.folder.exists())
        for path in (self.output, self.head, self.log):
            check_destination(path, overwrite=is_ours, error=TuningError)
            remove_drafts(path)
        check_destination(self.trunk, overwrite=True, error=TuningError)  # it grows from run to run
        if self.folder.exists() and not resume:
            if not overwrite:
                raise TuningError(
                    f"{self.folder}: expected no unfinished run, got one. Pass --resume to go on "
                    "with it, or --overwrite to begin anew."
                )
            shutil.rmtree(self.folder)

    def check_apart(self, inputs: Iterable[str | os.PathLike[str]]) -> None:
        """Refuse to replace what is read.

        Raises
        ------
        TuningError
        """
        read = [path for path in map(Path, inputs) if path.exists()]
        for path in (self.output, self.head, self.log, self.trunk):
            if path.exists() and any(path.samefile(one) for one in read):
                raise TuningError(
                    f"{path}: expected a file of its own, got one that is read. Name another."
                )

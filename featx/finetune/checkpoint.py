"""A checkpoint: the state of a training in one file, which only the same training can load."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featx.core.errors import TuningError
from featx.core.fingerprint import Identity
from featx.core.typing import Array, Measure
from featx.finetune.log import write_whole
from featx.finetune.recipe import Recipe

BEGIN_ANEW = "To begin anew, pass overwrite=True without resume."


@dataclass(frozen=True, kw_only=True)
class TrainingIdentity:
    """Everything that decides the result of a training; it must be equal to load a checkpoint.

    Attributes
    ----------
    backbone : str
        Name of the architecture.
    weights : str
        SHA-256 over the tensors that training begins with.
    preprocessing : mapping
        Resize, crop and normalisation as versioned data.
    blocks : tuple of str
        Names of the unfrozen blocks, the one nearest to the classifier first.
    classes : tuple of str
        Names of the classes in the order of their codes.
    class_weights : tuple of float
        Weight of each class in the loss; empty if all images weigh alike.
    measure : {"accuracy", "balanced_accuracy"}
        Score by which epochs are compared.
    images, labels, holdout, head : str
        SHA-256 of the digests of the images, of the class codes, of the numbers of the held-out
        images, and of the matrix of the head that training begins with.
    recipe : Recipe
        Numbers of the training.
    """

    backbone: str
    weights: str
    preprocessing: Identity
    blocks: tuple[str, ...]
    classes: tuple[str, ...]
    class_weights: tuple[float, ...]
    measure: Measure
    images: str
    labels: str
    holdout: str
    head: str
    recipe: Recipe

    def to_json(self) -> str:
        """Write the fields as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingIdentity:
        """Read the text that `to_json` wrote."""
        fields = json.loads(text)
        for name in ("blocks", "classes", "class_weights"):
            fields[name] = tuple(fields[name])
        return cls(**fields | {"recipe": Recipe(**fields["recipe"])})

    def list_differences(self, other: TrainingIdentity) -> list[str]:
        """List the names of the fields that differ, including the fields of the recipe."""
        ours, theirs = self._list_fields(), other._list_fields()
        return [name for name in ours if ours[name] != theirs[name]]

    def _list_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.to_json())
        recipe: dict[str, Any] = fields.pop("recipe")
        return fields | recipe


def digest_arrays(*arrays: Array) -> str:
    """Return the SHA-256 over the bytes of arrays, hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds the state of one training.

    Attributes
    ----------
    path : Path
        The file.
    identity : TrainingIdentity
        Everything that decides the result of the training.
    """

    path: Path
    identity: TrainingIdentity

    def write(self, state: Mapping[str, Any]) -> None:
        """Write a state; if this fails, the previous checkpoint stays whole.

        Parameters
        ----------
        state : mapping
            Tensors and plain values.

        Raises
        ------
        TuningError
            If the file cannot be written.
        """
        buffer = io.BytesIO()  # torch turns a full disk into an error of its own
        torch.save({"identity": self.identity.to_json(), "state": dict(state)}, buffer)
        write_whole(self.path, buffer.getbuffer(), overwrite=True)

    def read(self) -> dict[str, Any] | None:
        """Read the state, if there is a checkpoint.

        Returns
        -------
        dict or None
            The state with its tensors on the CPU; None if there is no file.

        Raises
        ------
        TuningError
            If the file is damaged, or belongs to another training.
        """
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = TrainingIdentity.from_json(content["identity"])
            state: dict[str, Any] = content["state"]
        except Exception as error:  # errors of pickle, zip and JSON have no common base
            raise TuningError(
                subject=str(self.path),
                expected="a whole checkpoint",
                got=type(error).__name__,
                remedy=BEGIN_ANEW,
            ) from error
        differing = self.identity.list_differences(identity)
        if differing:
            raise TuningError(
                subject=str(self.path),
                expected="a checkpoint of the same training",
                got=f"one with another {', '.join(differing)}",
                remedy=f"Pass the values of the unfinished run. {BEGIN_ANEW}",
            )
        return state

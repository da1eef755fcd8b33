"""A run that is finished: recognise it by its plan, and give its report again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from featx.backbones.metadata import WeightsMetadata, read_metadata
from featx.core.errors import TuningError
from featx.core.files import remove_work_dir
from featx.core.notes import note
from featx.finetune.advise import Advice
from featx.finetune.checkpoint import TrainingIdentity, digest_arrays
from featx.finetune.data import TuningData
from featx.finetune.paths import CHECKPOINT, TuningPaths
from featx.finetune.report import TuningReport


def describe_plan(identity: TrainingIdentity, data: TuningData) -> dict[str, Any]:
    """Describe everything that decides the result of a run, in JSON types.

    Parameters
    ----------
    identity : TrainingIdentity
        Everything that decides the training.
    data : TuningData
        The data of the run: its test rows and the predictions of the frozen head.

    Returns
    -------
    dict
        ``training``, the identity, and ``comparison``, a digest of what is compared on which rows.
    """
    test = data.test
    columns = (test.ids, test.digests, test.labels, test.groups, data.predicted)
    compared = digest_arrays(np.array([data.split]), *(np.array(part, str) for part in columns))
    return {"training": json.loads(identity.to_json()), "comparison": compared}


def find_finished(
    paths: TuningPaths, plan: Mapping[str, Any], *, advice: Advice | None, overwrite: bool
) -> TuningReport | None:
    """Find the report of a finished run, so that resuming it does nothing.

    Parameters
    ----------
    paths : TuningPaths
        The files of the run.
    plan : mapping
        Plan of this run, as `describe_plan` returns it.
    advice : Advice or None
        Advice that chose the blocks of this run.
    overwrite : bool
        Whether a finished run of another plan may be replaced.

    Returns
    -------
    TuningReport or None
        The report; None if a run has yet to be finished.

    Raises
    ------
    TuningError
        If the files are of another plan or not all there, and must not be replaced.
    WeightsError
        If the file of weights is damaged.
    """
    if (paths.folder / CHECKPOINT).exists() or not paths.output.exists():
        return None
    report, problem = _read_report(read_metadata(paths.output), plan, paths)
    if report is None or problem:
        if overwrite:
            return None
        raise TuningError(
            subject=str(paths.output),
            expected="the finished run of the same plan",
            got=problem,
            remedy="Name another output, or pass overwrite=True to replace what is there.",
        )
    remove_work_dir(paths.folder, paths.is_work)  # of a run that was killed as it tidied up
    note(f"{paths.output}: the run is finished, and nothing is done again")
    return replace(report, advice=advice)


def _read_report(
    metadata: WeightsMetadata | None, plan: Mapping[str, Any], paths: TuningPaths
) -> tuple[TuningReport | None, str]:
    """Read the report of weights, and say why they are not those of a finished run of a plan."""
    if metadata is None or not metadata.report:
        return None, "weights of another origin"
    try:
        theirs = TrainingIdentity.from_json(json.dumps(metadata.plan["training"]))
        ours = TrainingIdentity.from_json(json.dumps(plan["training"]))
        differing = ours.list_differences(theirs)
        report = TuningReport.from_record(metadata.report, metadata.scores, paths)
    except (KeyError, TypeError, ValueError, AttributeError, TuningError):
        return None, "weights whose metadata does not tell their plan"
    if metadata.plan.get("comparison") != plan["comparison"]:
        differing.append("comparison")
    if differing:
        return report, f"one with another {', '.join(differing)}"
    missing = [path.name for path in (paths.head, paths.log) if not path.exists()]
    return report, f"one without {' and '.join(missing)}" if missing else ""

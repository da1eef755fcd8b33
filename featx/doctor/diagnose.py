"""Measure what this machine can do, and recommend options."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import joblib

from featx.backbones.backbone import Backbone
from featx.core.drafts import open_draft_folder
from featx.core.errors import FeatxError, SourceError
from featx.core.load import LoadMeter
from featx.core.notes import note
from featx.core.progress import announce, stage
from featx.core.rows import Failure
from featx.core.text import count_noun
from featx.core.typing import Decode, EngineName, PathLike, Precision, list_choices
from featx.doctor.advice import WORTH, Speeds, Way, advise, choose_worth, combine
from featx.doctor.measure import (
    DecodingSpeed,
    list_sample,
    measure_decoding,
    measure_network,
    measure_writing,
)
from featx.embedding.identity import resolve_backbone
from featx.embedding.options import RunOptions, count_workers
from featx.engines.choose import choose_engine, list_precisions
from featx.images.entries import Entry

DECODES = list_choices(Decode)
"""Ways to decode."""

SECONDS = {False: 1.5, True: 6.0}
"""Seconds of each measurement: of the short form, and of the thorough one."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Speeds of a machine, and advice.

    Attributes
    ----------
    n_cores : int
        Number of cores that this process may use.
    device : str
        Device on which networks run.
    n_images : int
        Number of different images that were read to measure decoding.
    failures : tuple of Failure
        Those that cannot be decoded. They count in no speed.
    workers : int
        Number of threads that decode by default.
    decode : dict of (str, int) to float
        Images per second read and decoded, by way to decode (``exact`` or ``fast``) and number of
        threads.
    network : dict of (str, str) to float
        Images per second through the network alone, by engine and precision.
    write_mb_per_s : float
        MB per second written and flushed to the disk.
    expected : dict of (str, str, str) to float
        Images per second of a whole extraction with `workers` threads, by engine, precision and way
        to decode.
    others : float or None
        Number of cores that other programs used meanwhile; None if the system does not tell.
    advice : tuple of str
        Options to pass or packages to install.
    """

    n_cores: int
    device: str
    n_images: int
    failures: tuple[Failure, ...] = ()
    workers: int
    decode: Mapping[tuple[Decode, int], float]
    network: Mapping[tuple[EngineName, Precision], float]
    write_mb_per_s: float
    expected: Mapping[tuple[EngineName, Precision, Decode], float] = field(default_factory=dict)
    others: float | None
    advice: tuple[str, ...] = ()

    @property
    def is_busy(self) -> bool:
        """Whether other programs slowed the measurements down: speeds are lower bounds then."""
        return choose_worth(self.others, self.n_cores) > WORTH


def diagnose(
    source: PathLike | Sequence[PathLike] | None = None,
    *,
    backbone: str = "resnet50",
    device: str = "auto",
    folder: PathLike = ".",
    thorough: bool = False,
    seconds: float | None = None,
) -> Diagnosis:
    """Measure how fast this machine decodes, runs a network and writes.

    Parameters
    ----------
    source : path or sequence of paths, optional
        Images to decode, in the form that `featx.extract` takes; a sample of them is read. Default:
        generated images of 500 × 375 pixels.
    backbone : str
        Name of the network. It runs with random weights, which do not change its speed.
    device : str
        Device on which the network runs: see `featx.RunOptions`.
    folder : path
        Folder in which writing is measured.
    thorough : bool
        True to measure longer, and with PyTorch even if OpenVINO runs the network on a CPU.
    seconds : float, optional
        Seconds of each measurement. Default: 1.5, or 6 if `thorough`.

    Returns
    -------
    Diagnosis
        Speeds and advice.

    Raises
    ------
    FeatxError
        If the folder is not writable.
    SourceError, BackboneError, DeviceError
        If source, backbone or device are missing, or if no image of the source can be decoded.

    Warns
    -----
    FeatxWarning
        If some images of the source cannot be decoded.

    See Also
    --------
    featx.extract : Use the recommended options.
    """
    device = choose_engine("auto", device)[1]
    if not os.access(folder, os.W_OK):
        raise FeatxError(
            subject="folder",
            expected="a writable folder",
            got=str(folder),
            remedy="Pass another folder=PATH.",
        )
    seconds = SECONDS[thorough] if seconds is None else seconds
    network = resolve_backbone(backbone, weights="random:0")
    n_cores = int(joblib.cpu_count())
    about = "a minute or more" if thorough else "15 seconds, and as long again for a new network"
    announce(f"measuring takes about {about}")
    meter = LoadMeter()
    with open_draft_folder(Path(folder) / "featx-doctor") as scratch:
        with stage("listing images"):
            entries = list_sample(source, scratch)
        with stage("measuring how fast images are read and decoded"):
            decoded = measure_all(entries, network, seconds, subject=_name(source))
        with stage("measuring how fast the disk writes"):
            write_mb_per_s = measure_writing(scratch)
    rates: dict[tuple[EngineName, Precision], float] = {}
    for engine in list_engines(device)[: None if thorough else 1]:
        for precision in list_precisions(engine, device):
            options = RunOptions(engine=engine, device=device)
            with (
                stage(f"measuring {network.name} with {engine} in {precision}"),
                options.build_engine(network, precision) as running,
            ):
                rates[engine, precision] = measure_network(running, seconds)
    workers = count_workers()
    failures = decoded["exact", workers].failures
    if failures:
        note(
            f"{len(failures)} of {count_noun(len(entries), 'image')} cannot be decoded, such as "
            f"{failures[0].path} ({failures[0].reason}): the speeds are those of the others."
        )
    found = Diagnosis(
        n_cores=n_cores,
        device=device,
        n_images=len(entries),
        failures=failures,
        workers=workers,
        decode={way: speed.rate for way, speed in decoded.items()},
        network=rates,
        write_mb_per_s=write_mb_per_s,
        others=meter.count_others(n_cores),
    )
    ways = itertools.product(rates, DECODES)
    expected = {
        (*way, decode): combine(found.decode[decode, workers], rates[way], device)
        for way, decode in ways
    }
    found = replace(found, expected=expected)
    return replace(found, advice=advise_on(found, sum(network.dims.values())))


def measure_all(
    entries: Sequence[Entry], network: Backbone, seconds: float, *, subject: str
) -> dict[tuple[Decode, int], DecodingSpeed]:
    """Measure both ways to decode, with the default number of threads and with twice as many.

    Parameters
    ----------
    entries : sequence of Entry
        Images to decode.
    network : Backbone
        Network whose preprocessing is applied.
    seconds : float
        Seconds of each measurement.
    subject : str
        Name of the source, for the error.

    Raises
    ------
    SourceError
        If no image can be decoded: a speed of failures says nothing.
    """
    found = {}
    for decode, workers in itertools.product(DECODES, (count_workers(), 2 * count_workers())):
        speed = measure_decoding(entries, network, workers=workers, decode=decode, seconds=seconds)
        if speed.rate == 0:
            first = speed.failures[0]
            raise SourceError(
                subject=subject,
                expected="at least one image that can be decoded",
                got=f"{len(speed.failures)} of {len(entries)} images that cannot, such as "
                f"{first.path} ({first.reason})",
                remedy="Name a source of images.",
            )
        found[decode, workers] = speed
    return found


def _name(source: PathLike | Sequence[PathLike] | None) -> str:
    given = [source] if source is None or isinstance(source, str | os.PathLike) else source
    return ", ".join(map(str, given))


def advise_on(found: Diagnosis, dim: int) -> tuple[str, ...]:
    """Recommend options; on a busy machine only what makes a large difference.

    Parameters
    ----------
    found : Diagnosis
        The speeds of the machine.
    dim : int
        Length of the embeddings.
    """
    worth = choose_worth(found.others, found.n_cores)
    default = Way(engine=next(iter(found.network))[0], workers=found.workers)
    speeds = Speeds(
        device=found.device,
        decode=found.decode,
        network=found.network,
        write_mb_per_s=found.write_mb_per_s,
    )
    advice = advise(speeds, default, dim=dim, worth=worth)
    advice = advice or [f"nothing: no option makes it {worth:g} times as fast"]
    if found.is_busy:
        advice.append(
            f"other programs used {found.others:.1f} of {found.n_cores} cores: the speeds are "
            "lower bounds; measure again when the machine is idle"
        )
    return tuple(advice)


def list_engines(device: str) -> list[EngineName]:
    """List the installed engines that run on a device, the default first."""
    has_openvino = device == "cpu" and importlib.util.find_spec("openvino")
    return ["openvino", "torch"] if has_openvino else ["torch"]

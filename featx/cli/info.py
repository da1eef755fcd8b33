"""featx info."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli.options import AsJson
from featx.cli.printing import (
    format_held_out,
    format_params,
    print_json,
    print_table,
    print_text,
)
from featx.cli.records import describe_fingerprint, describe_head, rename_keys
from featx.core.address import name_caches, name_location
from featx.core.errors import FeatxError
from featx.core.fingerprint import IMPORTED
from featx.core.text import count_noun, shorten

if TYPE_CHECKING:
    from featx.cache.reader import Cache
    from featx.heads.head import Head

FAILURE_COLUMNS = ("path", "lacks", "stage", "reason")

MAX_CLASSES = 20
"""Largest number of classes that are listed."""


def info(
    file: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Cache, several caches or their folder; head; or file of weights."
        ),
    ],
    failures: Annotated[
        bool,
        typer.Option(
            "--failures",
            help="List the images that failed in the last extraction, also if it was refused.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a file is and what it holds: a cache, a head or weights.

    featx info photos.h5

    featx info photos.h5 --failures

    featx info head.joblib
    """
    import glob

    from featx.core.recognise import describe_path, recognise_file
    from featx.remote.copies import localise

    if not failures:
        file = [localise(one) for one in file]
    is_one = len(file) == 1 and (os.path.lexists(file[0]) or not glob.has_magic(str(file[0])))
    content = recognise_file(file[0]) if is_one else "cache"
    if content == "head":
        _show_head(file[0], as_json=as_json)
    elif content == "weights":
        _show_weights(file[0], as_json=as_json)
    elif failures:
        _show_failures(file, as_json=as_json)
    elif content == "cache":
        _show_cache(file, as_json=as_json)
    else:
        raise FeatxError(
            subject=str(file[0]),
            expected="a cache, a head or a file of weights",
            got=describe_path(file[0]),
            remedy=_find_remedy(file[0]),
        )


def _find_remedy(path: Path) -> str:
    from featx.core.files import name_work_dir

    if os.path.isdir(path):
        return f"Make a cache: featx.extract('{path}', output='photos.h5')."
    if os.path.isdir(name_work_dir(path)):
        return f"Go on with it: featx.extract(SOURCE, output='{path}')."
    return "Check the path and its permissions."


def _show_failures(caches: list[Path], *, as_json: bool) -> None:
    from featx.extraction.ledger import read_failures

    lines = [
        [one.path, one.embedding or "all", one.stage, one.reason] for one in read_failures(caches)
    ]
    path = name_caches(caches)
    if as_json:
        listed = [dict(zip(FAILURE_COLUMNS, line, strict=True)) for line in lines]
        print_json({"cache": path, "n_failures": len(lines), "failures": listed})
    elif lines:
        print_table(FAILURE_COLUMNS, lines, cut=("path",))
    else:
        print_text(f"{path}: no image failed")


def _show_cache(caches: list[Path], *, as_json: bool) -> None:
    from featx.cache.joined import open_cache

    with open_cache(caches) as cache:
        summary, n_caches = _summarise(cache), len(cache.members)
    path, named = name_caches(caches), " ".join(map(name_location, caches))
    if as_json:
        print_json(summary)
        return
    embeddings = summary["embeddings"]
    print_text(
        f"{path}: {'a cache' if n_caches == 1 else f'{n_caches} caches'} of "
        f"{count_noun(summary['n_rows'], 'row')}, "
        f"{count_noun(len(embeddings), 'embedding')}, "
        f"{count_noun(summary['n_failures'], 'failure')}"
    )
    if summary["n_failures"]:
        print_text(f"        list the failures with: featx info {named} --failures")
    print_text(f"source  {shorten(summary['source'])}")
    print_text(f"digest  {summary['digest']}")
    if summary["n_groups"]:
        print_text(f"groups  {summary['n_groups']}")
    for line in format_said(summary["said"]):
        print_text(line)
    print_text()
    print_counts(summary["counts"])
    for name, embedding in embeddings.items():
        fingerprint = embedding["fingerprint"]
        print_text(
            f"\nembedding {name}: {embedding['n_vectors']} vectors of {fingerprint['dim']} "
            f"{embedding['dtype']}, fingerprint {fingerprint['digest']}"
        )
        print_text(f"  {shorten(embedding['summary'])}")
        made = embedding["provenance"]
        n_updates = len(made["updates"])
        updates = f", and {count_noun(n_updates, 'update')}" if n_updates else ""
        if embedding["n_learnt"]:
            print_text(f"  its network has learnt from {embedding['n_learnt']:,} of the rows")
        by = f"imported {made['time'][:16]} from {shorten(made['source'])}"
        if fingerprint["preprocess"].get("kind") != IMPORTED:
            by = f"made {made['time'][:16]} by {made['engine']} on {made['device']}"
        print_text(f"  {by}{updates}")


def format_said(said: list[dict[str, Any]]) -> list[str]:
    """Write whose word holds for how many rows, one line for each column."""
    lines = []
    for field in dict.fromkeys(one["field"] for one in said):
        parts = []
        for one in said:
            if one["field"] == field:
                unsure = f" ({one['n_unsure']} unsure)" if one["n_unsure"] else ""
                parts.append(f"{one['n_rows']} by {one['author'] or 'the source'}{unsure}")
        lines.append(f"{field + 's':<8}{', '.join(parts)}")
    return lines


def print_counts(counts: dict[str, dict[str, int]], *, what: str = "class") -> None:
    """Print how many rows each class, or whatever the lines stand for, has in each split."""
    splits = [
        split
        for split in ("train", "val", "test", "")
        if any(split in line for line in counts.values())
    ]
    lines = [
        [label or "(no label)", *(line.get(split, 0) for split in splits), sum(line.values())]
        for label, line in counts.items()
    ]
    shown = lines[:MAX_CLASSES]
    if len(lines) > MAX_CLASSES:
        rest = lines[MAX_CLASSES:]
        sums = [sum(column) for column in list(zip(*rest, strict=True))[1:]]
        shown.append([f"… {len(rest)} more, together", *sums])
    if len(lines) > 1:
        shown.append(["all", *(sum(column) for column in list(zip(*lines, strict=True))[1:])])
    names = [split or "no split" for split in splits]
    if splits == [""]:
        print_table([what, "rows"], [[line[0], line[-1]] for line in shown])
    else:
        print_table([what, *names, "all"], shown)


def _summarise(cache: "Cache") -> dict[str, Any]:
    from dataclasses import asdict

    from featx.cache.label_columns import read_labels
    from featx.core.lookup import count_distinct
    from featx.labels.element import KEYS
    from featx.labels.history import count_by_author

    pairs = cache.count_labels()
    counts: dict[str, dict[str, int]] = {}
    splits: dict[str, int] = {}
    for (label, split), count in sorted(pairs.items(), key=lambda pair: sort_key(pair[0][0])):
        counts.setdefault(label, {})[split] = count
        splits[split] = splits.get(split, 0) + count
    said = []
    if cache.has_history:
        said = count_by_author(read_labels(cache), cache.read_rows(KEYS))
    return {
        "content": "cache",
        "cache": name_location(cache.path),
        "digest": cache.digest,
        "source": cache.source,
        "n_rows": len(cache),
        "n_failures": count_distinct(cache.read_ledger()["id"]),
        "n_groups": cache.count_groups(),
        "said": [asdict(one) for one in said],
        "labels": {label: sum(line.values()) for label, line in counts.items()},
        "splits": splits,
        "counts": counts,
        "embeddings": {
            name: {
                "n_vectors": int(cache.read_present(name).sum()),
                "n_learnt": int(cache.read_learnt(name).sum()),
                "dtype": cache.get_dtype(name),
                "fingerprint": describe_fingerprint(cache.get_info(name).fingerprint),
                "summary": cache.get_info(name).fingerprint.describe(),
                "provenance": asdict(cache.get_info(name).provenance),
            }
            for name in cache.embeddings
        },
    }


def sort_key(label: str) -> tuple[int, int, str]:
    """Sort numbers by value and before words; rows without a label come last."""
    if label.isdecimal():
        return 0, int(label), label
    return (1 if label else 2), 0, label


def _show_head(path: Path, *, as_json: bool) -> None:
    from featx.cli.targets import print_held_out
    from featx.heads.load import load_head
    from featx.heads.target_head import TargetHead
    from featx.heads.target_words import describe_target

    head = load_head(path)
    if as_json:
        print_json({"content": "head", **describe_head(path, head)})
        return
    params = format_params(head)
    print_text(f"{path}: a head, {head.kind}{f', {params}' if params else ''}")
    fitted, names = head.fitted_on, head.classes.tolist()
    tuned = ", by fine-tuning" if fitted.fine_tuned else ""
    rows = f"{fitted.n_rows} rows of {fitted.cache} (split {fitted.split}){tuned}"
    lines = [("fitted on", rows)]
    if isinstance(head, TargetHead):
        lines.append(("predicts", describe_target(head)))
    more = f", and {len(names) - MAX_CLASSES} more" if len(names) > MAX_CLASSES else ""
    if names:
        lines.append(("classes", f"{len(names)}: {', '.join(names[:MAX_CLASSES])}{more}"))
    options = [f"{key} {_join(value)}" for key, value in head.options.items() if value is not None]
    lines.append(("options", ", ".join([*options, f"temperature {head.temperature:.3g}"])))
    for one in head.embeddings:
        fingerprint = one.fingerprint
        lines.append(("reads", f"fingerprint {fingerprint.digest}: {fingerprint.describe()}"))
        lines.append(("weights", one.origin.weights))
    if held_out := format_held_out(head):
        lines.append(("held out", held_out))
    lines.append(("unknown", _describe_detector(head)))
    versions = ", ".join(f"{name} {version}" for name, version in head.versions.items())
    lines.append(("versions", versions))
    for name, text in lines:
        print_text(f"{name:10} {text}")
    if isinstance(head, TargetHead):
        print_held_out(head)


def _join(value: Any) -> str:
    """Write the value of an option; weights of classes by name."""
    if isinstance(value, dict):
        return " ".join(f"{name}={number:g}" for name, number in value.items())
    return str(value).replace("_", " ")


def _describe_detector(head: "Head") -> str:
    """Say whether a head tells unknown images, and how rarely it can be wrong."""
    if head.unknown is None:
        return "- (every image gets a class)"
    return f"told, at a rate of false alarms of {head.unknown.smallest_rate:.2g} or more"


def _show_weights(path: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from featx.backbones.metadata import read_learnt, read_metadata

    metadata = read_metadata(path)
    if metadata is None:
        found: dict[str, Any] = {"content": "weights", "weights": str(path), **_count_tensors(path)}
        if as_json:
            print_json(found)
            return
        print_text(f"{path}: weights that another program wrote")
        by_key = found["n_tensors_by_key"]
        keys = ", ".join(f"{key} {by_key[key]}" for key in list(by_key)[:MAX_CLASSES])
        n_parameters = f"{found['n_parameters'] / 1e6:.2f} M parameters"
        print_text(f"tensors  {found['n_tensors']}, {n_parameters}: {keys}")
        print_text(f"use      featx extract photos/ -o photos.h5 --backbone NAME --weights {path}")
        return
    n_learnt = len(read_learnt(path))
    fields = asdict(metadata) | {"n_learnt": n_learnt}
    if as_json:
        del fields["plan"], fields["report"]
        record = rename_keys(fields, scores="comparison")
        print_json({"content": "weights", "weights": path, **record})
        return
    print_text(f"{path}: weights of {metadata.backbone}, tuned by featx fine-tune")
    print_text(f"trained    {', '.join(metadata.blocks)}, from {metadata.from_weights}")
    print_text(f"classes    {len(metadata.classes)}: {', '.join(metadata.classes[:MAX_CLASSES])}")
    print_text(
        f"images     {metadata.n_train} to learn from, {metadata.n_holdout} to decide when to stop"
    )
    print_text(
        f"kept       epoch {metadata.best_epoch}: holdout accuracy "
        f"{metadata.holdout_accuracy:.3f}, loss {metadata.holdout_loss:.3f}"
    )
    unchanged = "" if metadata.best_epoch else ", as before: the network is unchanged"
    print_text(f"learnt     from {count_noun(n_learnt, 'image')}{unchanged}")
    if metadata.stopped:
        print_text(f"stopped    {metadata.stopped}")
    print_text(f"made       {metadata.time[:16]} on {metadata.device}, {metadata.precision}")


def _count_tensors(path: Path) -> dict[str, Any]:
    """Count the tensors and the numbers in a file of weights, those of a checkpoint by its keys."""
    from collections import Counter

    from featx.backbones.state_dict import read_state_dict

    tensors = read_state_dict(path)
    return {
        "n_tensors": len(tensors),
        "n_tensors_by_key": Counter(name.split(".")[0] for name in tensors),
        "n_parameters": sum(tensor.numel() for tensor in tensors.values()),
    }

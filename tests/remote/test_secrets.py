"""No password and no signature of an address is shown, logged or recorded."""

import logging
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

from featx.backbones.weights import choose_weights
from featx.cache.joined import open_cache
from featx.core.address import Address
from featx.core.errors import FeatxError
from featx.extraction.extract import extract
from featx.extraction.ledger import read_failures
from featx.fitting.fit import fit_head
from featx.fitting.label import label_cache
from featx.heads.load import load_head
from featx.images.sources.read import read_manifest
from featx.remote import store as remote_store
from tests.remote.buckets import copy_folder, write

SECRET = "hunter2"
AT = f"memory://ada:{SECRET}@secrets"
LINK = f"http://ada:{SECRET}@127.0.0.1:1"


def list_files_with_secret(folder: Path) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    named = [file for file in folder.rglob("*") if SECRET in file.name]
    return named + [file for file in files if SECRET.encode() in file.read_bytes()]


def test_an_extraction_records_and_tells_no_secret(
    photos: Path, tiny_backbone: str, store: Path, tmp_path: Path, caplog: Any, run_cli: Any
) -> None:
    caplog.set_level(logging.DEBUG, "featx")
    copy_folder(photos, Address(f"{AT}/photos"))
    names = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.jpg"))]
    write(
        Address(f"{AT}/photos/t.csv"), "\n".join(["path", *names, "train/ants/none.jpg"]).encode()
    )
    options: dict[str, Any] = {"backbone": tiny_backbone, "batch_size": 4, "progress": False}
    told = []
    for name, source in (("a", "photos"), ("b", "photos/t.csv")):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            output = f"{AT}/{name}.h5"
            told.append(extract(f"{AT}/{source}", output, **options).summary)
            told.append(extract(f"{AT}/{source}", output, **options).summary)
            told.append(repr(fit_head(output, tmp_path / f"{name}.joblib").fitted_on))
            told += map(repr, read_failures(output))
        told += [str(one.message) for one in warned]
        for command in ("info", "verify", "split", "merge"):
            more = ["-o", tmp_path / "m.h5", "--overwrite"] if command == "merge" else []
            result = run_cli(command, output, *more)
            told += [result.out, result.err]
    assert f"{Address(AT)}/a.h5: 12 rows" in told[0]
    assert any(f"FittedOn(cache='{Address(AT)}/a.h5'" in one for one in told)
    assert not [one for one in [*told, caplog.text] if SECRET in one]
    assert not [one for one in told if str(store) in one]
    assert list_files_with_secret(tmp_path) == []
    with open_cache(f"{AT}/b.h5") as cache:
        assert cache.paths[0] == f"{Address(AT)}/photos/{names[0]}"


def test_labels_are_not_read_from_addresses_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"path\n{LINK}/a/1.jpg\n{LINK.replace(':1', ':2')}/b/1.jpg\n")
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest("t.csv")
    assert [entry.row.label for entry in manifest.entries] == [None, None]
    assert SECRET not in repr([entry.row for entry in manifest.entries])


@pytest.mark.parametrize(
    "call",
    [
        lambda: read_manifest(f"{LINK}/a.tar?sig={SECRET}"),
        lambda: read_manifest(f"{LINK}/t.csv"),
        lambda: open_cache(f"{LINK}/a.h5?X-Amz-Signature={SECRET}"),
        lambda: open_cache(Path(f"{LINK}/a.h5")),
        lambda: load_head(f"{LINK}/a.joblib"),
        lambda: choose_weights(f"{LINK}/a.pth", [], backbone="resnet18"),
        lambda: label_cache("none.h5", f"{LINK}/a.csv"),
    ],
    ids=["tar", "table", "cache", "path", "head", "weights", "labels"],
)
def test_no_error_shows_a_secret(call: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_store, "N_TRIES", 1)
    with pytest.raises(FeatxError) as error:
        call()
    text = "".join(traceback.format_exception(error.value))
    assert SECRET not in text.replace(str(Path(__file__)), "")
    assert str(error.value).startswith("http://127.0.0.1:1/")
    assert SECRET not in repr(vars(error.value))

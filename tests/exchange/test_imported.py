"""Vectors of other programs: what is read of them, what is refused, and what heads do with them."""

from __future__ import annotations

import csv
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import featx
from featx.core.errors import CacheError, ExchangeError, FingerprintError, SourceError
from featx.exchange.imported import ImportReport, import_embeddings
from tests.exchange.builders import write_odd_cache

N_ROWS, DIM = 40, 6


def draw_vectors(n_rows: int = N_ROWS, seed: int = 0) -> Any:
    """Draw vectors of two classes that lie apart, bees and ants in turn."""
    rng = np.random.default_rng(seed)
    sides = np.where(np.arange(n_rows) % 2, 2.0, -2.0)[:, None]
    return (rng.normal(size=(n_rows, DIM)) + sides).astype(np.float32)


def write_ids(path: Path, n_rows: int = N_ROWS) -> Path:
    """Write a table of ids, labels, splits and prices, as a user has it."""
    lines = ["file_name,class,subset,price"]
    for row in range(n_rows):
        label, split = ("bees", "ants")[row % 2], "validation" if row % 4 > 1 else "train"
        lines.append(f"img/{row}.jpg,{label},{split},{row}.50")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with vectors and a table of ids."""
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", draw_vectors())
    write_ids(Path("ids.csv"))
    return tmp_path


def run(name: str = "v.npy", output: str = "c.h5", **options: Any) -> ImportReport:
    return import_embeddings(name, output=output, **options)


def test_columns_of_the_table_have_the_names_of_sources(folder: Path) -> None:
    report = run(ids="ids.csv", model="timm/vit_base")
    assert (report.n_rows, report.n_labelled, report.n_split) == (N_ROWS, N_ROWS, N_ROWS)
    assert (report.columns, report.embedding) == (("price",), "timm-vit_base")
    assert (report.is_own, report.model) == (False, "timm/vit_base")
    with featx.open_cache("c.h5") as cache:
        assert cache.ids[:2].tolist() == ["img/0.jpg", "img/1.jpg"]
        assert cache.paths[0] == "img/0.jpg"
        assert cache.labels[:2].tolist() == ["bees", "ants"]
        assert cache.splits[2:4].tolist() == ["val", "val"]
        assert cache.read_column("price")[3] == "3.50"
        assert np.array_equal(cache.read_vectors(), draw_vectors())
        info = cache.get_info()
        assert info.fingerprint.is_imported
        assert info.fingerprint.describe() == "imported vectors of timm/vit_base, dim 6"
        assert (info.provenance.source, cache.source) == ("v.npy", "ids.csv")
    assert featx.verify_cache("c.h5").n_rows == N_ROWS


def test_rows_without_a_table_are_numbered(folder: Path) -> None:
    report = run()
    assert (report.n_labelled, report.embedding) == (0, "imported")
    assert "comparable with no vectors but those of this file" in str(report)
    with featx.open_cache("c.h5") as cache:
        assert cache.ids[:3].tolist() == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.npz", "x.csv", "x.tsv"])
def test_vectors_of_others_are_found_beside_their_columns(folder: Path, name: str) -> None:
    vectors = draw_vectors(3).astype(np.float64)
    columns = {"id": ["a", "b", "c"], "label": ["1", "", "2"], "n": ["7", "8", "9"]}
    if name.endswith("npz"):
        np.savez(name, features=vectors, id=columns["id"], label=columns["label"], n=columns["n"])
    elif name[2:] in ("csv", "tsv"):
        sign = "," if name.endswith("csv") else "\t"
        header = [*columns, *(f"dim_{number}" for number in range(DIM))]
        lines = [
            [*cells, *map(repr, vector)]
            for *cells, vector in zip(*columns.values(), vectors.tolist(), strict=True)
        ]
        Path(name).write_text("\n".join(sign.join(line) for line in [header, *lines]) + "\n")
    else:
        pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
        pytest.importorskip("pyarrow.parquet")
        pytest.importorskip("pyarrow.feather")
        table = pa.table({**columns, "features": vectors.tolist(), "boxes": [[1], [2], [3]]})
        if name.endswith("parquet"):
            pa.parquet.write_table(table, name)
        else:
            pa.feather.write_feather(table, name, compression="uncompressed")
    report = run(name)
    assert (report.n_rows, report.dim, report.dtype) == (3, DIM, "float32")
    assert report.passed_over == (("boxes",) if name[2:] in ("parquet", "arrow") else ())
    with featx.open_cache("c.h5") as cache:
        assert cache.ids.tolist() == columns["id"]
        assert cache.labels.tolist() == columns["label"]
        assert cache.read_column("n").to_list() == columns["n"]
        assert np.array_equal(cache.read_vectors(), vectors.astype(np.float32))


def test_a_column_of_vectors_is_chosen_by_name(folder: Path) -> None:
    np.savez("two.npz", image=draw_vectors(2), text=np.eye(2, 3))
    with pytest.raises(ExchangeError, match=r"got several: image, text\. Pass column=NAME\."):
        run("two.npz")
    assert run("two.npz", column="text").dim == 3
    with pytest.raises(ExchangeError, match=r"got 'texts'\. Nearest: text"):
        run("two.npz", column="texts", output="other.h5")


def test_half_precision_stays_and_fortran_order_is_read(folder: Path) -> None:
    half = draw_vectors(5).astype(np.float16)
    np.save("half.npy", np.asfortranarray(half))
    np.savez_compressed("half.npz", embedding=np.asfortranarray(half))
    for number, name in enumerate(("half.npy", "half.npz")):
        assert run(name, output=f"{number}.h5").dtype == "float16"
        with featx.open_cache(f"{number}.h5") as cache:
            assert np.array_equal(cache.read_vectors(), half)


class Evil:
    """What a pickle may do; nobody must read it."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def write_header(path: Path, n_rows: int) -> None:
    """Write a file of one vector of three numbers whose header promises more of them."""
    with path.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(12))


def write_wrong(name: str) -> None:
    """Write files that are no vectors."""
    vectors = draw_vectors(3)
    nan = vectors.copy()
    nan[1, 2] = np.nan
    big = vectors.astype(np.float64)
    big[2, 0] = 1e300
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(2), Evil()]
    writers: dict[str, Any] = {
        "nan.npy": lambda: np.save("nan.npy", nan),
        "big.npy": lambda: np.save("big.npy", big),
        "deep.npy": lambda: np.save("deep.npy", np.ones((2, 3, 4), np.float32)),
        "flat.npy": lambda: np.save("flat.npy", np.ones(3, np.float32)),
        "ints.npy": lambda: np.save("ints.npy", np.ones((2, 3), np.int64)),
        "none.npy": lambda: np.save("none.npy", np.ones((0, 3), np.float32)),
        "objects.npy": lambda: np.save("objects.npy", ragged, allow_pickle=True),
        "objects.npz": lambda: np.savez("objects.npz", embedding=ragged),
        "deep.npz": lambda: np.savez("deep.npz", embedding=np.ones((2, 3, 4))),
        "pickle.npy": lambda: Path("pickle.npy").write_bytes(pickle.dumps(Evil())),
        "huge.npy": lambda: write_header(Path("huge.npy"), 10**13),
        "cut.npy": lambda: write_header(Path("cut.npy"), 4),
        "text.npz": lambda: Path("text.npz").write_text("no zip"),
        "text.parquet": lambda: Path("text.parquet").write_text("no table"),
        "text.arrow": lambda: Path("text.arrow").write_text("no table"),
        "words.csv": lambda: Path("words.csv").write_text("id,e0,e1\na,1,2\nb,1,x\n"),
        "short.csv": lambda: Path("short.csv").write_text("id,e0,e1\na,1\n"),
        "labels.csv": lambda: Path("labels.csv").write_text("id,label\na,ant\n"),
        "nan.csv": lambda: Path("nan.csv").write_text("id,e0,e1\na,1,nan\n"),
        "twice.csv": lambda: Path("twice.csv").write_text("id,e0,e1\na,1,2\nb,1,2\na,3,4\n"),
        "same.csv": lambda: Path("same.csv").write_text("id,e0,e1,e1\na,1,2,3\n"),
        "v.pt": lambda: Path("v.pt").write_bytes(b""),
    }
    writers[name]()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan.npy", r"nan\.npy, row 2: expected finite numbers of float32, got nan\."),
        ("big.npy", r"big\.npy, row 3: expected finite numbers of float32, got 1e\+300\."),
        ("deep.npy", r"expected an array of 2 axes, rows and dim, got 3 axes, \(2, 3, 4\)\."),
        ("flat.npy", r"expected an array of 2 axes, rows and dim, got 1 axis, \(3,\)\."),
        ("ints.npy", r"expected numbers of float16, float32 or float64, got int64\."),
        ("none.npy", r"expected at least one vector of at least one number, got 0 rows"),
        ("objects.npy", r"expected numbers of float16, .*, got Python objects\."),
        ("objects.npz", r"objects\.npz, embedding: expected numbers .*, got Python objects\."),
        ("deep.npz", r"deep\.npz, embedding: expected an array of 2 axes, .*, got 3 axes"),
        ("pickle.npy", r"pickle\.npy: expected arrays as NumPy writes them, got"),
        ("huge.npy", r"huge\.npy: .*, got 12 bytes where the header promises 120,000,000,000,000"),
        ("cut.npy", r"cut\.npy: .*, got 12 bytes where the header promises 48\."),
        ("text.npz", r"text\.npz: expected arrays as NumPy writes them, got File is not a zip"),
        ("text.parquet", r"text\.parquet: expected a Parquet table, got ArrowInvalid\."),
        ("text.arrow", r"text\.arrow: expected an Arrow file, got ArrowInvalid\."),
        ("words.csv", r"words\.csv, line 3: expected a number in each cell .*, got 'x'\."),
        ("short.csv", r"short\.csv, line 2: expected 3 cells, as in the header, got 2\."),
        ("labels.csv", r"labels\.csv: expected a column of vectors, got columns id, label\."),
        ("nan.csv", r"nan\.csv, row 1: expected finite numbers of float32, got nan\."),
        ("twice.csv", r"row 3, column id: expected each id once, got 'a' again after row 1\."),
        ("same.csv", r"same\.csv: expected each column once, got two columns 'e1'\. Rename one"),
        ("v.pt", r"v\.pt: expected a file of vectors: \.parquet, .*, got the suffix '\.pt'\."),
    ],
)
def test_wrong_vectors_are_refused_in_one_line(folder: Path, name: str, message: str) -> None:
    if name.endswith(("parquet", "arrow")):
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    write_wrong(name)
    with pytest.raises(ExchangeError) as caught:
        run(name)
    text = str(caught.value)
    assert re.search(message, text), text
    assert len(text.splitlines()) == 1
    assert not Path("c.h5").exists()
    assert not Path("evil").exists()
    assert not [*folder.glob(".*partial")]


def test_a_table_of_ids_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(ExchangeError, match=r"a table of ids: .*'\.npy'\. Choose one of these"):
        run(ids="v.npy")


def test_a_changed_bit_of_an_exported_parquet_is_found(folder: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    write_odd_cache(Path("own.h5"), draw_vectors(), ["a", "b"] * (N_ROWS // 2))
    featx.export_cache("own.h5", "own.parquet")
    data = bytearray(Path("own.parquet").read_bytes())
    data[data.index(draw_vectors()[7].tobytes()) + 2] ^= 1
    Path("own.parquet").write_bytes(data)
    with pytest.raises(ExchangeError, match=r"^own\.parquet: expected a whole Parquet table, got"):
        run("own.parquet")
    assert not Path("c.h5").exists()


@pytest.mark.parametrize("output", ["v.npy", "ids.csv", "link.h5"])
def test_an_import_never_replaces_what_it_reads(folder: Path, output: str) -> None:
    Path("link.h5").symlink_to("v.npy")
    before = [Path(name).read_bytes() for name in ("v.npy", "ids.csv")]
    with pytest.raises(ExchangeError, match="expected a file of its own, got a file that the run"):
        run(output=output, ids="ids.csv", overwrite=True)
    assert [Path(name).read_bytes() for name in ("v.npy", "ids.csv")] == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\na\nb\n", r"ids\.csv: expected 3 rows, one for each vector of three\.npy, got 2\."),
        ("id\na\nb\na\n", r"row 3, column id: expected each id once, got 'a' again after row 1\."),
        ("a,ants\nb,bees\nc,ants\n", r"expected a header with a column such as id, path or label"),
        ("id,label\na,x\n,y\nc,z\n", r"row 2, column id: expected the id of a row, got no value"),
        ("id,split\na,x\nb,train\nc,val\n", r"row 1, column split: expected train, val or test"),
        ("id,digest\na,12\nb,\nc,\n", r"column digest: expected 64 hexadecimal digits, got '12'"),
        ("id,width\na,w\nb,\nc,\n", r"row 1, column width: expected a number of pixels, got 'w'"),
        ("id,label\na\nb,x\nc,y\n", r"line 2: expected 2 cells, as in the header, got 1\."),
        ("", r"ids\.csv: expected a header"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(folder: Path, text: str, message: str) -> None:
    np.save("three.npy", draw_vectors(3))
    Path("ids.csv").write_text(text)
    with pytest.raises((ExchangeError, SourceError)) as caught:
        run("three.npy", ids="ids.csv")
    assert re.search(message, str(caught.value)), str(caught.value)
    assert not Path("c.h5").exists()


def test_a_table_in_another_order_than_the_ids_beside_the_vectors_is_refused(folder: Path) -> None:
    np.savez("v.npz", embedding=draw_vectors(2), id=["a", "b"])
    Path("ids.csv").write_text("id,label\nb,x\na,y\n")
    with pytest.raises(ExchangeError, match=r"ids\.csv, row 1: expected the id 'a', as in v\.npz"):
        run("v.npz", ids="ids.csv")


def test_missing_files_and_outputs_that_exist_are_told(folder: Path) -> None:
    with pytest.raises(ExchangeError, match=r"none\.npy: expected a file, got nothing there"):
        run("none.npy")
    with pytest.raises(ExchangeError, match=r"none\.csv: expected a file, got nothing there"):
        run(ids="none.csv")
    run()
    with pytest.raises(CacheError, match=r"c\.h5: expected a new file, got a file that exists"):
        run()
    run(overwrite=True)
    with pytest.raises(ExchangeError, match="expected the name of the model"):
        run(model=" ", output="other.h5")


def test_words_for_a_missing_value_say_nothing(folder: Path) -> None:
    np.save("v.npy", draw_vectors(3))
    Path("ids.csv").write_text("id,label,price\na,NA,1.0\nb,2.0,n/a\nc,1.0,3.0\n")
    assert run(ids="ids.csv").n_labelled == 2
    with featx.open_cache("c.h5") as cache:
        assert cache.labels.tolist() == ["", "2", "1"]
        assert cache.read_column("price").to_list() == ["1", "", "3"]


def test_numbers_of_rows_and_doubtful_labels_are_told(folder: Path) -> None:
    np.save("v.npy", draw_vectors(3))
    Path("ids.csv").write_text(",id,label,Unnamed: 0\n0,a,Cat,0\n1,b,cat,1\n2,c,cat,2\n")
    with pytest.warns(featx.FeatxWarning, match=r"ids\.csv: labels differ only by case"):
        report = run(ids="ids.csv")
    assert report.columns == ()
    assert report.passed_over == ("(without a name)", "Unnamed: 0")


def test_a_column_that_is_nearly_named_label_is_told_and_not_recorded(folder: Path) -> None:
    np.save("v.npy", draw_vectors(2))
    Path("ids.csv").write_text("id,lable,dataset\na,x,cifar\nb,y,cifar\n")
    report = run(ids="ids.csv")
    assert (report.columns, report.passed_over) == (("dataset",), ("lable (nearest: label)",))


def test_anndata_of_others_gives_x_or_a_matrix_of_obsm(folder: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="needs anndata")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    sparse = pytest.importorskip("scipy.sparse")
    obs = pandas.DataFrame(
        {"label": pandas.Categorical(["a", None, "b"]), "score": [0.5, np.nan, 2.0]},
        index=["0", "1", "2"],
    )
    vectors = draw_vectors(3)
    data = anndata.AnnData(X=vectors, obs=obs, obsm={"X_pca": vectors[:, :2].astype(np.float64)})
    data.write_h5ad("a.h5ad")
    report = run("a.h5ad", ids=None)
    assert (report.dim, report.n_labelled, report.columns) == (DIM, 2, ("score",))
    with featx.open_cache("c.h5") as cache:
        assert cache.labels.tolist() == ["a", "", "b"]
        assert cache.read_column("score").to_list() == ["0.5", "", "2"]
        assert np.array_equal(cache.read_vectors(), vectors)
    assert run("a.h5ad", column="X_pca", output="pca.h5").dim == 2
    with pytest.raises(ExchangeError, match="got 'X_umap'"):
        run("a.h5ad", column="X_umap", output="d.h5")
    anndata.AnnData(X=sparse.csr_matrix(vectors), obsm={"X_pca": vectors}).write_h5ad("s.h5ad")
    with pytest.raises(ExchangeError, match=r"X: expected a dense matrix .* of obsm: X_pca"):
        run("s.h5ad", output="d.h5")


def test_lance_of_others_is_read(folder: Path) -> None:
    lance = pytest.importorskip("lance", reason="needs pylance")
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    vectors = draw_vectors(3)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    lance.write_dataset(pa.table({"vector": lists, "id": ["a", "b", "c"]}), "v.lance")
    assert run("v.lance").n_rows == 3
    with featx.open_cache("c.h5") as cache:
        assert cache.ids.tolist() == ["a", "b", "c"]
        assert np.array_equal(cache.read_vectors(), vectors)
    Path("no.lance").mkdir()
    with pytest.raises(ExchangeError, match=r"no\.lance: expected a Lance dataset"):
        run("no.lance", output="d.h5")


def test_heads_take_imports_of_one_model_and_refuse_others(folder: Path) -> None:
    run(ids="ids.csv", model="clip")
    np.save("new.npy", draw_vectors(10, seed=1))
    run("new.npy", output="new.h5", model="clip")
    run("new.npy", output="unnamed.h5")
    np.save("wide.npy", np.ones((3, 7), np.float32))
    run("wide.npy", output="wide.h5", model="clip")
    head = featx.fit_head("c.h5", kind="logreg")
    assert featx.evaluate(head, "c.h5", split="val").accuracy > 0.9
    labels = [one.label for one in featx.predict(head, "new.h5")]
    assert labels == ["bees", "ants"] * 5
    with pytest.raises(FingerprintError, match=r"backbone clip, as the head .* got backbone impor"):
        featx.predict(head, "unnamed.h5")
    with pytest.raises(FingerprintError, match=r"dim 6, as the head .* got dim 7"):
        featx.predict(head, "wide.h5")


def test_predict_on_images_says_why_not(folder: Path, make_image: Any) -> None:
    run(ids="ids.csv", model="clip")
    head = featx.fit_head("c.h5", kind="logreg")
    with pytest.raises(FingerprintError) as caught:
        featx.predict(head, make_image(folder / "a.png"))
    assert "got imported vectors of clip, dim 6" in str(caught.value)
    assert "make a cache of them with featx.import_embeddings" in caught.value.remedy


def test_vectors_of_one_file_are_comparable_without_a_model(folder: Path) -> None:
    first, second = run(output="a.h5"), run(output="b.h5", ids="ids.csv")
    assert first.fingerprint == second.fingerprint
    np.save("other.npy", draw_vectors(seed=2))
    assert run("other.npy", output="c.h5").fingerprint != first.fingerprint


def test_a_model_takes_the_place_of_what_featx_exported(folder: Path) -> None:
    write_odd_cache(folder / "own.h5", draw_vectors(4), ["a", "b", "", "a"])
    featx.export_cache("own.h5", "own.npz")
    own = run("own.npz", output="again.h5", embedding="renamed")
    assert (own.is_own, own.embedding) == (True, "renamed")
    other = run("own.npz", model="edited")
    assert (other.is_own, other.n_labelled, other.embedding) == (False, 3, "edited")
    with featx.open_cache("c.h5") as cache:
        assert cache.get_info().fingerprint.is_imported
        assert not len(cache.read_learnt_digests())


def test_metadata_that_do_not_belong_to_the_vectors_are_refused(folder: Path) -> None:
    write_odd_cache(folder / "own.h5", draw_vectors(4), ["a", "b", "", "a"])
    featx.export_cache("own.h5", "own.npz")
    with np.load("own.npz") as arrays:
        content = dict(arrays)
    content["embedding"] = content["embedding"][:, :3]
    np.savez("cut.npz", **content)
    with pytest.raises(ExchangeError, match=r"got dim 6 beside vectors of 3. Pass model=NAME"):
        run("cut.npz")
    assert run("cut.npz", model="cut").dim == 3


def test_a_csv_that_was_changed_counts_as_one_of_others(folder: Path) -> None:
    write_odd_cache(folder / "own.h5", draw_vectors(4), ["a", "b", "", "a"])
    featx.export_cache("own.h5", "own.csv")
    beside = json.loads(Path("own.csv.json").read_text())
    assert set(beside) == {"sha256", "featx"}
    text = Path("own.csv").read_text().replace(",a,", ",c,")
    Path("own.csv").write_text(text)
    with pytest.warns(featx.FeatxWarning, match="was changed after featx had written it"):
        report = run("own.csv")
    assert (report.is_own, report.n_labelled) == (False, 3)


def test_a_csv_that_a_spreadsheet_changed_keeps_its_texts(folder: Path) -> None:
    labels = ["=1+1", "'=1+1", "@x", "ants"]
    write_odd_cache(folder / "own.h5", draw_vectors(4), labels)
    featx.export_cache("own.h5", "own.csv")
    with Path("own.csv").open(newline="", encoding="utf-8") as stream:
        lines = [*csv.reader(stream)]
    with Path("own.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        stream.write("sep=;\r\n")
        csv.writer(stream, delimiter=";").writerows(lines)
    with pytest.warns(featx.FeatxWarning, match="was changed after featx had written it"):
        run("own.csv")
    with featx.open_cache("own.h5") as own, featx.open_cache("c.h5") as cache:
        assert cache.labels.tolist() == own.labels.tolist() == labels
        assert cache.ids.tolist() == own.ids.tolist()
        np.testing.assert_array_equal(cache.read_vectors(), own.read_vectors())
    lines[2].pop()
    with Path("own.csv").open("w", newline="", encoding="utf-8") as stream:
        stream.write("sep=;\n")
        csv.writer(stream, delimiter=";").writerows(lines)
    with (
        pytest.warns(featx.FeatxWarning, match="was changed"),
        pytest.raises(ExchangeError, match=r"own\.csv, line 4: expected \d+ cells"),
    ):
        run("own.csv", output="d.h5")


def test_imports_of_one_model_are_merged(folder: Path) -> None:
    np.save("a.npy", draw_vectors(3))
    np.save("b.npy", draw_vectors(2, seed=1))
    for name in "ab":
        Path(f"{name}.csv").write_text(
            "id\n" + "\n".join(f"{name}{row}" for row in range(3 if name == "a" else 2)) + "\n"
        )
        run(f"{name}.npy", output=f"{name}.h5", ids=f"{name}.csv", model="clip")
    assert featx.merge_caches(["a.h5", "b.h5"], "all.h5").n_rows == 5


def test_labels_and_splits_are_recorded_over_an_import(folder: Path) -> None:
    run(ids="ids.csv", model="clip")
    report = featx.label_cache("c.h5", {"img/0.jpg": "ants"}, author="ada")
    assert report.n_changed == 1
    featx.split_cache("c.h5", val=0.25, overwrite=True, author="ada")
    with featx.open_cache("c.h5") as cache:
        assert cache.labels[0] == "ants"
        assert cache.list_splits() == ["train", "val"]

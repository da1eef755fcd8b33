"""Files that are no weights are told from their beginning, in featx's own words."""

import json
import os
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from featx.backbones.state_dict import load_into, read_state_dict
from featx.backbones.weights_file import NoWeightsError, find_format
from featx.core.errors import WeightsError

from .builders import build_network


def pack(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def describe(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> Any:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><title>404</title>", "a web page, in place of a download"),
        (b"\n<HTML>", "a web page, in place of a download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (b"GGUF\x03", "a GGUF file"),
        (b"\x1f\x8b\x08", "a file compressed by gzip"),
        (b'{"weights": 1}', "a JSON text"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (b"\xff" * 99, "a file of another kind"),
        (pickle.dumps({"a": print}), "a pickle that torch.save did not write"),
        (b"PK\x03\x04" + bytes(99), "an archive that is cut off"),
        (b"\xff" * 8 + b"{}", "a header of 18446744073709551615 bytes in a file of 10"),
        ((10**12).to_bytes(8, "little") + b"{}", "a header of 1000000000000 bytes"),
        (pack(describe(shape=(10**6, 10**6)), bytes(4)), "contradicts itself at the tensor 'a'"),
        (pack(describe(shape=(-1, -1)), bytes(4)), "contradicts itself at the tensor 'a'"),
        (pack(describe(offsets=(4, 8)), bytes(8)), "contradicts itself at the tensor 'a'"),
        (pack(describe(), bytes(3)), "tensors of 4 bytes in 3"),
        (pack(describe(), bytes(5)), "tensors of 4 bytes in 5"),
        (pack(describe(dtype="F31"), bytes(4)), "a damaged header"),
        (pack({"a": 3}), "a damaged header"),
        (pack({"a": {"dtype": "F32"}}), "a damaged header"),
        (pack(b'{"a":' + b"[" * 10**5), "a damaged header"),
        (pack(b"{}, 3"), "a damaged header"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_find_format_says_what_a_file_is(
    tmp_path: Path, data: bytes, got: str, suffix: str
) -> None:
    file = tmp_path / f"mine{suffix}"
    file.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        read_state_dict(file)
    assert got in caught.value.got
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", [".pth", ".bin", ""])
def test_find_format_goes_by_content(tmp_path: Path, suffix: str) -> None:
    state = build_network().state_dict()
    (tmp_path / f"a{suffix}").write_bytes(save(state))
    torch.save(state, tmp_path / f"b{suffix}")
    torch.save(state, tmp_path / f"c{suffix}", _use_new_zipfile_serialization=False)
    assert find_format(tmp_path / f"a{suffix}") == "safetensors"
    assert find_format(tmp_path / f"b{suffix}") == find_format(tmp_path / f"c{suffix}") == "torch"
    for name in "abc":
        assert set(read_state_dict(tmp_path / f"{name}{suffix}")) == set(state)


def test_find_format_refuses_a_torch_file_that_torch_would_not_read(tmp_path: Path) -> None:
    torch.save(build_network().state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(NoWeightsError, match=r"a file of torch\.save: name it \.pth"):
        find_format(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("dtype", "shape", "n_bytes"),
    [("F4", (2,), 1), ("BOOL", (3,), 3), ("C64", (2,), 16), ("F8_E4M3", (2, 0), 0)],
)
def test_find_format_takes_all_dtypes(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], n_bytes: int
) -> None:
    header = describe(dtype, shape, (0, n_bytes)) | {"__metadata__": {"x": "y"}}
    (tmp_path / "x").write_bytes(pack(header, bytes(n_bytes)))
    assert find_format(tmp_path / "x") == "safetensors"


def write_zip(path: Path, names: list[str], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name in names:
            archive.writestr(name, bytes(10**6))


@pytest.mark.parametrize(
    ("names", "options", "got"),
    [
        (["readme.txt"], {}, "an archive that torch.save did not write"),
        (["x/data.pkl", "x/constants.pkl"], {}, "a TorchScript program"),
        (["x/data.pkl"], {"compression": zipfile.ZIP_DEFLATED}, "a compressed archive"),
    ],
)
def test_find_format_refuses_other_archives(
    tmp_path: Path, names: list[str], options: Any, got: str
) -> None:
    write_zip(tmp_path / "x.pth", names, **options)
    with pytest.raises(NoWeightsError, match=got):
        find_format(tmp_path / "x.pth")


def test_find_format_refuses_an_archive_that_claims_more_than_it_has(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.pth", ["x/data.pkl"])
    data = (tmp_path / "x.pth").read_bytes()
    large = data.replace((10**6).to_bytes(4, "little"), (10**9).to_bytes(4, "little"))
    (tmp_path / "x.pth").write_bytes(large)
    with pytest.raises(NoWeightsError, match="claims more bytes than it has"):
        find_format(tmp_path / "x.pth")


def test_find_format_never_opens_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pth")
    with pytest.raises(NoWeightsError, match="a folder, a pipe or a device"):
        find_format(tmp_path / "x.pth")


def test_read_state_dict_huge_claims_take_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tensors = {"a": torch.zeros(1).expand(10**6, 10**6)}
    torch.save(tensors, tmp_path / "x.pth")
    state = read_state_dict(tmp_path / "x.pth")
    network = torch.nn.Module()
    network.register_buffer("a", torch.zeros(2))
    with pytest.raises(WeightsError, match="misshapen"):
        load_into(network, state, ignored=[], subject="x.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to(torch.int8),
        lambda tensor: tensor.bool(),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
    ],
    ids=["int8", "bool", "complex", "sparse", "meta"],
)
def test_load_into_refuses_tensors_of_another_type(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    network = build_network()
    state = network.state_dict()
    state["conv.weight"] = change(state["conv.weight"])
    with pytest.raises(WeightsError, match=r"got of another type: conv\.weight of torch\."):
        load_into(network, state, ignored=[], subject="x.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_load_into_takes_other_precisions(dtype: torch.dtype) -> None:
    network = build_network()
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor
             for name, tensor in network.state_dict().items()}  # fmt: skip
    load_into(network, state, ignored=[], subject="x.pth")

"""What a word for weights means, where files come from, and what may be in them."""

import functools
import hashlib
import http.server
import json
import socket
import threading

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from featx.backbones.load import load_backbone
from featx.backbones.weights import (
    WeightsChoice,
    WeightsEntry,
    choose_weights,
    digest_weights,
    fetch_weights,
    load_into,
    read_record,
    read_state_dict,
)
from featx.core.errors import BackboneError, WeightsError

CONNECT = socket.socket.connect
"""As it is before conftest's fixture refuses every connection."""


def build_entry(name="IMAGENET1K_V1", url="http://127.0.0.1/tiny-0123456789ab.pth"):
    return WeightsEntry(name=name, url=url, preprocess=None, top1=1.0, n_parameters=1)


def build_network(seed=0, n_classes=3):
    """Make a network of a convolution with BatchNorm and a classifier ``fc``."""
    torch.manual_seed(seed)
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 4, 3))
    network.add_module("bn", nn.BatchNorm2d(4))
    network.add_module("fc", nn.Linear(4, n_classes))
    return network.eval()


def cut(network):
    network.fc = nn.Identity()
    return network


# --- choose_weights

ENTRIES = (build_entry("IMAGENET1K_V1"), build_entry("IMAGENET1K_V2"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DEFAULT", WeightsChoice(entry=ENTRIES[1])),
        ("IMAGENET1K_V1", WeightsChoice(entry=ENTRIES[0])),
        ("IMAGENET1K_V2", WeightsChoice(entry=ENTRIES[1])),
        ("random:0", WeightsChoice(seed=0)),
        ("random:17", WeightsChoice(seed=17)),
    ],
)
def test_choose_weights_word_means_its_choice(text, expected):
    assert choose_weights(text, ENTRIES, backbone="tiny") == expected


def test_choose_weights_file_means_the_file(tmp_path):
    file = tmp_path / "mine.bin"
    file.touch()
    assert choose_weights(str(file), ENTRIES, backbone="tiny") == WeightsChoice(file=file)


def test_choose_weights_file_in_home_means_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mine.pth").touch()
    choice = choose_weights("~/mine.pth", ENTRIES, backbone="tiny")
    assert choice == WeightsChoice(file=tmp_path / "mine.pth")


@pytest.mark.parametrize("name", ["gone.pth", "gone.pt", "gone.safetensors"])
def test_choose_weights_missing_file_is_refused(tmp_path, name):
    with pytest.raises(WeightsError, match=rf"{name}: expected a weights file, got nothing there"):
        choose_weights(str(tmp_path / name), ENTRIES, backbone="tiny")


@pytest.mark.parametrize("text", ["IMAGENET", "random", "random:-1", "random:x", "", "."])
def test_choose_weights_other_word_is_refused_with_those_known(text):
    known = r"DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2, random:SEED, a \.pth file"
    with pytest.raises(WeightsError, match=rf"^tiny: expected weights among {known}, got '{text}'"):
        choose_weights(text, ENTRIES, backbone="tiny")


def test_choose_weights_mistyped_name_shows_the_nearest():
    with pytest.raises(WeightsError, match="Nearest: IMAGENET1K_V2"):
        choose_weights("IMAGENET1K-V2", ENTRIES, backbone="tiny")


def test_choose_weights_default_without_named_weights_is_refused():
    with pytest.raises(WeightsError, match=r"among random:SEED, a \.pth file, got 'DEFAULT'"):
        choose_weights("DEFAULT", (), backbone="tiny")


# --- fetch_weights


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder behind a loopback server, its URL, and the requests that came."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            requests.append(self.path)

    def connect(self, address):
        assert address[0] == "127.0.0.1", address
        return CONNECT(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()
    thread.join()


def name_by_digest(data, n_digits=8):
    return f"tiny-{hashlib.sha256(data).hexdigest()[:n_digits]}.pth"


def test_weights_entry_file_name_and_digest_come_from_its_url():
    entry = build_entry(url="https://host/models/mnasnet0.5_top1_67.823-3ffadce67e.pth")
    assert entry.file_name == "mnasnet0.5_top1_67.823-3ffadce67e.pth"
    assert entry.digest_prefix == "3ffadce67e"


def test_fetch_weights_downloads_once_into_torch_home(served, tmp_path):
    folder, url, requests = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"weights")
    entry = build_entry(url=f"{url}/{name}")
    files = [fetch_weights(entry), fetch_weights(entry)]
    assert files == [tmp_path / "torch-home/hub/checkpoints" / name] * 2
    assert files[0].read_bytes() == b"weights"
    assert requests == [f"/{name}"]


def test_fetch_weights_download_of_wrong_digest_is_refused_and_leaves_nothing(served, tmp_path):
    folder, url, _ = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"others!")
    with pytest.raises(WeightsError, match="invalid hash value"):
        fetch_weights(build_entry(url=f"{url}/{name}"))
    assert [path for path in (tmp_path / "torch-home").rglob("*") if path.is_file()] == []


def test_fetch_weights_missing_on_the_server_says_so(served):
    _, url, _ = served
    with pytest.raises(WeightsError, match=r"tiny-01234567.pth, got HTTP Error 404"):
        fetch_weights(build_entry(url=f"{url}/tiny-01234567.pth"))


def test_fetch_weights_without_a_route_names_url_digest_and_folder(served):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/tiny-0123456789ab.pth"
    with pytest.raises(
        WeightsError,
        match=rf"^weights IMAGENET1K_V1: expected to fetch {url}, got .*refused.*"
        r"SHA-256 begins with 0123456789ab\).*FEATX_WEIGHTS_DIR",
    ):
        fetch_weights(build_entry(url=url))


def test_fetch_weights_folder_by_hand_comes_first(served, tmp_path, monkeypatch):
    _, url, requests = served
    name = name_by_digest(b"weights")
    for folder in ("by-hand", "torch-home/hub/checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_bytes(b"weights")
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "by-hand"))
    assert fetch_weights(build_entry(url=f"{url}/{name}")) == tmp_path / "by-hand" / name
    assert requests == []


def test_fetch_weights_folder_by_hand_without_the_file_is_passed_over(
    served, tmp_path, monkeypatch
):
    folder, url, _ = served
    name = name_by_digest(b"weights")
    (folder / name).write_bytes(b"weights")
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    file = fetch_weights(build_entry(url=f"{url}/{name}"))
    assert file == tmp_path / "torch-home/hub/checkpoints" / name


@pytest.mark.parametrize("folder", ["by-hand", "torch-home/hub/checkpoints"])
def test_fetch_weights_file_of_wrong_digest_is_refused(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "tiny-0123456789ab.pth").write_bytes(b"others")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "by-hand"))
    digest = hashlib.sha256(b"others").hexdigest()
    with pytest.raises(
        WeightsError,
        match=rf"{folder}/tiny-0123456789ab\.pth: expected a SHA-256 that begins with "
        rf"0123456789ab, got {digest}",
    ):
        fetch_weights(build_entry())


# --- read_state_dict


def check_equal(state, expected):
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": t for name, t in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "module.", "both"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_read_state_dict_torch_file_gives_its_tensors(tmp_path, wrap, suffix):
    state = build_network().state_dict()
    torch.save(wrap(state), tmp_path / f"mine{suffix}")
    check_equal(read_state_dict(tmp_path / f"mine{suffix}"), state)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_read_state_dict_safetensors_gives_its_tensors(tmp_path, prefix):
    state = build_network().state_dict()
    save_file(
        {f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "m.safetensors"
    )
    check_equal(read_state_dict(tmp_path / "m.safetensors"), state)


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
@pytest.mark.parametrize("data", [b"", b"no weights at all\n" * 9], ids=["empty", "text"])
def test_read_state_dict_other_file_is_refused_in_one_line(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{name}: expected a state dict .*, got [^\n]+\Z"):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    "value", [[1, 2], {}, {"epoch": 3}, {"fc.weight": torch.zeros(2), "epoch": 3}, torch.zeros(2)]
)
def test_read_state_dict_of_no_tensors_by_name_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"expected a state dict \(tensors by name\), got"):
        read_state_dict(tmp_path / "mine.pth")


def test_read_state_dict_truncated_file_is_refused(tmp_path):
    file = tmp_path / "mine.pth"
    torch.save(build_network().state_dict(), file)
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(WeightsError, match="expected a state dict"):
        read_state_dict(file)


class Malicious:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_read_state_dict_pickle_of_other_objects_is_refused_and_not_run(tmp_path):
    proof = tmp_path / "proof"
    torch.save({"fc.weight": torch.zeros(2), "hook": Malicious(proof)}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"expected a state dict .*, got UnpicklingError"):
        read_state_dict(tmp_path / "mine.pth")
    assert not proof.exists()


def test_read_state_dict_whole_pickled_network_is_refused(tmp_path):
    torch.save(build_network(), tmp_path / "mine.pth")
    with pytest.raises(
        WeightsError, match=r"Save it with torch\.save\(model\.state_dict\(\), path"
    ):
        read_state_dict(tmp_path / "mine.pth")


# --- read_record

RECORD = {"backbone": "mobilenet_v2", "preprocess_from": "IMAGENET1K_V2", "size": None}


def save_recorded(path, record, state=None):
    """Save tensors with a record, or with text in its place; return the path."""
    text = record if isinstance(record, str) else json.dumps(record)
    save_file(state or {"fc.weight": torch.zeros(2)}, path, metadata={"featx": text})
    return path


def test_read_record_gives_all_that_was_written(tmp_path):
    record = RECORD | {"classes": ["ants", "bees"], "epochs": 3}
    assert read_record(save_recorded(tmp_path / "mine.safetensors", record)) == record


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_read_record_file_of_another_program_has_none(tmp_path, metadata):
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "mine.safetensors", metadata=metadata)
    assert read_record(tmp_path / "mine.safetensors") is None


def test_read_record_torch_file_has_none(tmp_path):
    torch.save({"fc.weight": torch.zeros(2), "featx": json.dumps(RECORD)}, tmp_path / "mine.pth")
    assert read_record(tmp_path / "mine.pth") is None


@pytest.mark.parametrize("n_bytes", [0, 7, 50, -1])
def test_read_record_file_cut_short_is_refused(tmp_path, n_bytes):
    file = save_recorded(tmp_path / "mine.safetensors", RECORD)
    file.write_bytes(file.read_bytes()[:n_bytes])
    with pytest.raises(
        WeightsError, match=r"mine\.safetensors: expected a whole \.safetensors file, got "
    ):
        read_record(file)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", '"mini"', "{}", '{"backbone": "mini", "size": 64}']
)
def test_read_record_that_is_no_whole_record_is_refused(tmp_path, text):
    file = save_recorded(tmp_path / "mine.safetensors", text)
    with pytest.raises(WeightsError, match=r"expected a whole \.safetensors file, got "):
        read_record(file)


# --- load_into


def test_load_into_puts_every_tensor_in():
    state = build_network(seed=1).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, head="fc", file="mine.pth")
    check_equal(network.state_dict(), {n: t for n, t in state.items() if not n.startswith("fc")})


@pytest.mark.parametrize("n_classes", [1, 7])
def test_load_into_classifier_of_any_class_count_is_passed_over(n_classes):
    state = build_network(seed=1, n_classes=n_classes).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, head="fc", file="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


def test_load_into_file_without_classifier_is_fine():
    state = cut(build_network(seed=1)).state_dict()
    network = cut(build_network(seed=2))
    load_into(network, state, head="fc", file="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


def test_load_into_counts_of_batches_may_lack():
    state = build_network(seed=1).state_dict()
    del state["bn.num_batches_tracked"]
    network = cut(build_network(seed=2))
    load_into(network, state, head="fc", file="mine.pth")
    assert torch.equal(network.conv.weight, state["conv.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn.running_mean": None}, "got missing: bn.running_mean. Check"),
        (
            {"conv.weight": torch.zeros(4, 3, 5, 5)},
            r"got misshapen: conv\.weight \(4, 3, 5, 5\) instead of \(4, 3, 3, 3\)\. Check",
        ),
        ({"conv2.weight": torch.zeros(2)}, "got unknown: conv2.weight. Check"),
        (
            {f"conv{i}.weight": torch.zeros(2) for i in range(2, 7)},
            "got unknown: conv2.weight, conv3.weight, conv4.weight and 2 more. Check",
        ),
        (
            {"conv.weight": None, "conv.bias": torch.zeros(9)},
            "got missing: conv.weight. Check",
        ),
    ],
    ids=["missing", "misshapen", "unknown", "many", "missing before misshapen"],
)
def test_load_into_other_tensors_are_refused_by_name(change, message):
    state = build_network().state_dict() | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    network = cut(build_network())
    with pytest.raises(WeightsError, match=f"^mine.pth: expected the 7 tensors .*{message}"):
        load_into(network, state, head="fc", file="mine.pth")


def test_load_into_refused_file_changes_nothing():
    state = build_network(seed=1).state_dict() | {"conv2.weight": torch.zeros(2)}
    network = cut(build_network(seed=2))
    before = digest_weights(network)
    with pytest.raises(WeightsError, match="unknown"):
        load_into(network, state, head="fc", file="mine.pth")
    assert digest_weights(network) == before


# --- digest_weights


def test_digest_weights_equal_tensors_give_equal_digests():
    assert digest_weights(build_network(1)) == digest_weights(build_network(1))


def test_digest_weights_another_value_gives_another_digest():
    network = build_network(1)
    before = digest_weights(network)
    with torch.no_grad():
        network.conv.bias[0] += 1e-6
    assert digest_weights(network) != before


def test_digest_weights_count_of_batches_does_not_matter():
    network = build_network(1)
    before = digest_weights(network)
    network.bn.num_batches_tracked += 1
    assert digest_weights(network) == before


# --- weights through load_backbone


def save_squeezenet(path, **changes):
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1()
    torch.save(network.state_dict() | changes, path)
    return path


def test_load_backbone_file_and_its_digest_agree_however_it_is_packed(tmp_path):
    file = save_squeezenet(tmp_path / "mine.pth")
    state = torch.load(file)
    save_file(state, tmp_path / "mine.safetensors")
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "c.pth")
    backbones = [
        load_backbone("squeezenet1_1", weights=str(tmp_path / name))
        for name in ("mine.pth", "mine.safetensors", "c.pth")
    ]
    assert len({backbone.weights_digest for backbone in backbones}) == 1
    assert backbones[0].weights == str(file)


def test_load_backbone_random_weights_follow_their_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = load_backbone("squeezenet1_1", weights="random:3")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = load_backbone("squeezenet1_1", weights="random:3")
    other = load_backbone("squeezenet1_1", weights="random:4")
    assert first.weights_digest == again.weights_digest != other.weights_digest


def test_load_backbone_named_weights_from_a_folder_by_hand(tmp_path, monkeypatch):
    file = save_squeezenet(tmp_path / "mine.pth")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    name = f"squeezenet1_1-{digest[:8]}.pth"
    file.rename(tmp_path / name)
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(WeightsEntry, "file_name", name)
    monkeypatch.setattr(WeightsEntry, "digest_prefix", digest[:8])
    named = load_backbone("squeezenet1_1")
    from_file = load_backbone("squeezenet1_1", weights=str(tmp_path / name))
    assert named.weights == "DEFAULT"
    assert named.weights_digest == from_file.weights_digest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load_backbone_weights_with_holes_are_refused_by_name(tmp_path, value):
    bad = torch.zeros(64)
    bad[3] = value
    file = save_squeezenet(tmp_path / "mine.pth", **{"features.0.bias": bad})
    with pytest.raises(WeightsError, match=r"got NaN or infinity in features\.0\.bias"):
        load_backbone("squeezenet1_1", weights=str(file))


def test_load_backbone_file_of_another_architecture_is_refused(tmp_path):
    file = save_squeezenet(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth: expected the \d+ tensors .*got missing: "):
        load_backbone("squeezenet1_0", weights=str(file))


# --- records through load_backbone


@functools.cache
def build_mobilenet_state():
    torch.manual_seed(0)
    return torchvision.models.mobilenet_v2().state_dict()


def save_mobilenet(path, **changes):
    return save_recorded(path, RECORD | changes, build_mobilenet_state())


def test_load_backbone_recorded_file_has_the_preprocessing_that_it_names(tmp_path):
    file = save_mobilenet(tmp_path / "mine.safetensors")
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.preprocess_from, backbone.size) == ("IMAGENET1K_V2", None)
    assert backbone.preprocess.describe().startswith("resize 232 ")


def test_load_backbone_safetensors_file_without_a_record_has_the_first_preprocessing(tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(build_mobilenet_state(), file)
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.preprocess_from, backbone.size) == ("IMAGENET1K_V1", None)


def test_load_backbone_recorded_file_has_the_size_that_it_names(tmp_path):
    file = save_mobilenet(tmp_path / "mine.safetensors", size=64)
    backbone = load_backbone("mobilenet_v2", weights=str(file))
    assert (backbone.size, backbone.pixel_shape) == (64, (64, 64, 3))
    assert backbone.preprocess_from == "IMAGENET1K_V2"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"size": 96}, ("IMAGENET1K_V2", 96)),
        ({"preprocess": "IMAGENET1K_V1"}, ("IMAGENET1K_V1", 64)),
        ({"preprocess": "IMAGENET1K_V1", "size": 96}, ("IMAGENET1K_V1", 96)),
    ],
    ids=str,
)
def test_load_backbone_recorded_file_yields_to_what_is_asked_for(tmp_path, asked, found):
    file = save_mobilenet(tmp_path / "mine.safetensors", size=64)
    backbone = load_backbone("mobilenet_v2", weights=str(file), **asked)
    assert (backbone.preprocess_from, backbone.size) == found
    assert backbone.pixel_shape == (found[1], found[1], 3)


def test_load_backbone_recorded_file_without_named_preprocessing_has_the_networks_own(tmp_path):
    own = load_backbone("mini")
    record = {"backbone": "mini", "preprocess_from": None, "size": 40}
    state = {name: tensor.clone() for name, tensor in own.module.network.state_dict().items()}
    file = save_recorded(tmp_path / "mine.safetensors", record, state)
    backbone = load_backbone("mini", weights=str(file))
    assert backbone.weights_digest == own.weights_digest
    assert backbone.preprocess == own.preprocess.resized(40)


def test_load_backbone_file_recorded_of_another_backbone_is_refused_with_its_name(tmp_path):
    file = save_mobilenet(tmp_path / "mine.safetensors")
    with pytest.raises(
        WeightsError,
        match=r"mine\.safetensors: expected weights of squeezenet1_1, got some of mobilenet_v2\. "
        r"Pass --backbone mobilenet_v2\.$",
    ):
        load_backbone("squeezenet1_1", weights=str(file))


@pytest.mark.parametrize("size", [-1, 5000])
def test_load_backbone_file_recorded_of_no_size_is_refused(tmp_path, size):
    file = save_mobilenet(tmp_path / "mine.safetensors", size=size)
    with pytest.raises(BackboneError, match=rf"size: expected 1 to 4096 pixels, got {size}"):
        load_backbone("mobilenet_v2", weights=str(file))


def test_load_backbone_damaged_safetensors_file_is_refused(tmp_path):
    file = save_mobilenet(tmp_path / "mine.safetensors")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"mine\.safetensors: expected a whole \.safetensors"):
        load_backbone("mobilenet_v2", weights=str(file))

"""Which settings an extraction has: those given, those of the output, or defaults."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featx.backbones.load import load_backbone
from featx.cache.format import EmbeddingInfo
from featx.cache.index import WorkPlan
from featx.cache.joined import open_cache
from featx.core.errors import BackboneError, FeatxWarning, FingerprintError, WeightsError
from featx.core.provenance import Origin
from featx.extraction.settings import (
    GivenSettings,
    Settings,
    StoredSettings,
    choose_settings,
    list_stored_settings,
)
from featx.testing import FakeEngine
from tests.builders import (
    MakeCache,
    build_fingerprint,
    build_info,
    build_provenance,
)


def store(embedding: str, backbone: str = "", **changes: Any) -> StoredSettings:
    """Build the settings of an embedding in an output."""
    fields = {"decoder": "pillow-exact/1", "precision": "fp32"} | {
        name: changes.pop(name) for name in ("decoder", "precision") if name in changes
    }
    return StoredSettings(
        embedding=embedding,
        layers=changes.pop("layers", ("penultimate",)),
        fingerprint=build_fingerprint(backbone or embedding, **fields),
        dtype=changes.pop("dtype", "float32"),
        origin=Origin(**({"weights": "DEFAULT"} | changes)),
    )


def choose(*stored: StoredSettings, **given: Any) -> Settings:
    return choose_settings(GivenSettings(**given), stored)


SMALL = store("mini", size=96, precision="bf16", dtype="float16", weights="random:1")
OLD, NEW = store("resnet18"), store("mini", size=96)


def test_choose_settings_of_a_new_output_are_the_defaults() -> None:
    assert choose() == Settings(
        backbone="resnet50",
        weights="DEFAULT",
        layers=("penultimate",),
        preprocess=None,
        size=None,
        embedding="resnet50",
        dtype=None,
        precision="fp32",
        decode="exact",
    )


def test_choose_settings_keeps_all_of_the_output() -> None:
    chosen = choose(SMALL)
    assert (chosen.backbone, chosen.weights, chosen.size) == ("mini", "random:1", 96)
    assert (chosen.embedding, chosen.precision, chosen.dtype) == ("mini", "bf16", "float16")
    assert chosen.describe_kept("a.h5") == (
        "a.h5: backbone mini, weights random:1, size 96, dtype float16, precision bf16 as in its "
        "embedding mini."
    )


def test_choose_settings_says_nothing_of_defaults() -> None:
    assert choose(store("resnet50")).describe_kept("a.h5") == ""


@pytest.mark.parametrize(
    ("given", "embedding", "size"),
    [
        ({}, "mini", 96),
        ({"backbone": "mini"}, "mini", 96),
        ({"embedding": "mini"}, "mini", 96),
        ({"size": 32}, "mini", 32),
        ({"backbone": "resnet18"}, "resnet18", None),
        ({"embedding": "resnet18"}, "resnet18", None),
        ({"backbone": "alexnet"}, "alexnet", None),
        ({"embedding": "large", "size": 224}, "large", 224),
        ({"backbone": "alexnet", "embedding": "mini"}, "mini", None),
        ({"weights": "random:2"}, "mini", None),
    ],
)
def test_choose_settings_of_the_embedding_that_is_extended(
    given: Any, embedding: str, size: int | None
) -> None:
    chosen = choose(OLD, NEW, **given)
    assert (chosen.embedding, chosen.size) == (embedding, size)


def test_choose_settings_of_several_embeddings_names_the_others_unless_one_is_named() -> None:
    assert choose(OLD, NEW).describe_kept("a.h5") == (
        "a.h5: backbone mini, size 96 as in its embedding mini, which was extended last. Pass "
        "embedding=NAME for resnet18."
    )
    assert choose(NEW, OLD, backbone="mini").others == ()
    assert choose(NEW, OLD, embedding="resnet18").others == ()


def test_choose_settings_of_a_new_embedding_keeps_the_network() -> None:
    chosen = choose(OLD, NEW, embedding="large", size=224)
    assert chosen.backbone == "mini"
    assert chosen.describe_kept("a.h5") == ("a.h5: backbone mini as in its embedding mini.")


def test_choose_settings_prefers_the_layers_that_are_given() -> None:
    half = store("mini", layers=("conv",), dtype="float16")
    assert choose(NEW, half).layers == ("conv",)
    chosen = choose(NEW, half, layers=["penultimate"])
    assert (chosen.layers, chosen.dtype) == (("penultimate",), "float32")


def test_choose_settings_beside_a_loaded_backbone_keeps_no_network() -> None:
    loaded = load_backbone("lenet5")
    chosen = choose(store("lenet5", size=33, weights="random:1", dtype="float16"), backbone=loaded)
    assert chosen.backbone is loaded
    assert (chosen.weights, chosen.size, chosen.dtype) == ("DEFAULT", None, "float16")


def test_choose_settings_with_an_unknown_decoder_is_refused_unless_decode_is_given() -> None:
    with pytest.raises(FingerprintError, match=r"^decoder: expected pillow-exact/1"):
        choose(store("mini", decoder="other/1"))
    assert choose(store("mini", decoder="other/1"), decode="fast").decode == "fast"


# --- list_stored_settings


def at(info: EmbeddingInfo, time: str, *updates: str) -> EmbeddingInfo:
    """Let an embedding be made at a time, and extended at others."""
    later = tuple(build_provenance(time=update) for update in updates)
    return replace(info, provenance=replace(info.provenance, time=time, updates=later))


def test_list_stored_settings_puts_the_one_that_was_extended_last_at_the_end(
    make_cache: MakeCache,
) -> None:
    infos = [at(build_info("a"), "1", "4"), at(build_info("b"), "2"), at(build_info("c"), "3")]
    with open_cache(make_cache(infos=infos)) as cache:
        names = [one.embedding for one in list_stored_settings(cache, None)]
    assert names == ["b", "c", "a"]


def test_list_stored_settings_joins_layers_of_one_network_only(make_cache: MakeCache) -> None:
    infos = [
        build_info("tiny"),
        replace(build_info("tiny", layer="conv", dim=4), name="tiny@conv"),
        replace(build_info("tiny", layer="conv", weights_digest="cd" * 32), name="other@conv"),
    ]
    with open_cache(make_cache(infos=infos)) as cache:
        stored = list_stored_settings(cache, None)
    layers = {one.embedding: one.layers for one in stored}
    assert layers == {"tiny": ("penultimate", "conv"), "other": ("conv",)}


def test_list_stored_settings_ends_with_unfinished_work(make_cache: MakeCache) -> None:
    plan = WorkPlan(
        embeddings={"new": build_fingerprint("new")},
        dtype="float16",
        batch_size=4,
        origin=Origin(weights="random:7", size=32),
    )
    with open_cache(make_cache()) as cache:
        *_, last = list_stored_settings(cache, plan)
    assert (last.embedding, last.origin.weights, last.dtype) == ("new", "random:7", "float16")


# --- whole runs


@pytest.fixture
def extract(tmp_path: Path, folder: Path) -> Any:
    """Extract `folder` without a network, with the settings that are given alone."""
    import featx

    def extract(source: Any = folder, **options: Any) -> Any:
        engine = options.pop("engine", None) or FakeEngine(batch_size=2)
        return featx.extract(source, tmp_path / "out.h5", engine=engine, **options)

    return extract


def test_extract_again_without_settings_extends_the_embedding(
    extract: Any, folder: Path, put: Any
) -> None:
    first = extract(backbone="lenet5", size=33, layers=["penultimate", "c1"], dtype="float16")
    put(folder / "ants/8.png", 8)
    message = r"out\.h5: backbone lenet5, layers penultimate and c1, size 33, dtype float16 as"
    with pytest.warns(FeatxWarning, match=message):
        report = extract()
    assert report.dims == first.dims
    assert (report.n_embedded, report.n_rows) == (1, 9)
    with pytest.warns(FeatxWarning, match=message):
        assert not extract().is_changed


def test_extract_again_takes_the_preprocessing_that_was_named(
    extract: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": "squeezenet1_1", "weights": "random:1"}
    extract(**options, preprocess="IMAGENET1K_V1")
    with pytest.warns(FeatxWarning, match=r"backbone squeezenet1_1, weights random:1 as in its"):
        assert not extract().is_changed


def test_extract_unfinished_goes_on_without_settings(extract: Any, tmp_path: Path) -> None:
    def stop(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt("stopped")

    engine = FakeEngine(batch_size=2, on_batch=stop)
    with pytest.raises(KeyboardInterrupt, match=r"stopped"):
        extract(backbone="lenet5", size=33, shard_seconds=0, engine=engine)
    with pytest.warns(FeatxWarning, match=r"out\.h5: backbone lenet5, size 33 as in its embedding"):
        report = extract()
    assert (report.n_resumed, report.n_embedded) == (4, 4)
    with open_cache(tmp_path / "out.h5") as cache:
        assert cache.get_info("lenet5").provenance.origin.size == 33


def test_extract_overwrite_keeps_no_setting(extract: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    extract(backbone="lenet5", size=33)
    report = extract(backbone="lenet5", overwrite=True)
    assert report.n_embedded == 8
    with open_cache(report.path) as cache:
        assert cache.get_info().provenance.origin.size is None


def test_extract_whose_weights_were_moved_says_how_to_name_them(
    extract: Any, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    state = load_backbone("lenet5", weights="random:1").module.network.state_dict()
    file = tmp_path / "mine.safetensors"
    save_file({name: tensor.clone() for name, tensor in state.items()}, file)
    extract(backbone="lenet5", weights=str(file))
    file.rename(tmp_path / "moved.safetensors")
    with (
        pytest.warns(FeatxWarning, match=r"backbone lenet5, weights .*mine\.safetensors as in"),
        pytest.raises(WeightsError, match=r"pass weights=FILE with the weights that .*out\.h5 was"),
    ):
        extract()
    with pytest.warns(FeatxWarning, match=r"out\.h5: backbone lenet5 as in its embedding lenet5"):
        assert not extract(weights=str(tmp_path / "moved.safetensors")).is_changed


def test_extract_with_a_size_that_differs_is_refused(extract: Any) -> None:
    extract(backbone="lenet5", size=33)
    with (
        pytest.warns(FeatxWarning, match=r"backbone lenet5 as in its"),
        pytest.raises(FingerprintError, match=r"out\.h5, embedding lenet5: expected .*33"),
    ):
        extract(size=34)


def test_extract_of_an_unregistered_network_again_is_refused(extract: Any, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"got 'nobody'"):
        extract(backbone="nobody")

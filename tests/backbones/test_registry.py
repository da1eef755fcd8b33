"""Backbones found by name."""

import pytest
from torch import nn

from featx.backbones import registry
from featx.backbones.registry import (
    add_spec,
    collect_specs,
    get_backbone_spec,
    list_backbones,
    normalise_name,
)
from featx.backbones.spec import BackboneSpec
from featx.core.errors import BackboneError


def build_spec(name: str) -> BackboneSpec:
    return BackboneSpec(name=name, dim=3, paper="", build=nn.Identity)


# --- collect_specs


@pytest.mark.parametrize("names", [[], ["a"], ["b", "a"]], ids=str)
def test_collect_specs_keeps_each_by_its_name(names: list[str]) -> None:
    specs = [build_spec(name) for name in names]
    assert list(collect_specs(specs)) == names
    assert list(collect_specs(specs).values()) == specs


@pytest.mark.parametrize("names", [["a", "a"], ["a", "b", "a"]], ids=str)
def test_collect_specs_name_that_comes_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(BackboneError, match=r"^backbone 'a': expected a new name, got a name that"):
        collect_specs(build_spec(name) for name in names)


def test_zoos_share_no_name() -> None:
    names = [spec.name for list_specs in registry.ZOOS for spec in list_specs()]
    assert len(names) == len(set(names)) == 71


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a\nb", "a:b"])
def test_backbone_spec_name_that_cannot_stand_in_a_cache_is_refused(name: str) -> None:
    with pytest.raises(BackboneError, match="expected a name of letters, digits and"):
        build_spec(name)


# --- add_spec


@pytest.fixture
def no_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registry of this process as it was."""
    monkeypatch.setattr(registry, "_registered", {})


@pytest.mark.usefixtures("no_registered")
def test_add_spec_makes_a_name_known() -> None:
    spec = build_spec("registry-new")
    add_spec(spec)
    assert get_backbone_spec("registry-new") is spec
    assert "registry-new" in list_backbones()


@pytest.mark.usefixtures("no_registered")
@pytest.mark.parametrize("name", ["resnet18", "mini", "registry-twice", "Mini", "Registry-Twice"])
def test_add_spec_taken_name_is_refused_and_changes_nothing(name: str) -> None:
    add_spec(build_spec("registry-twice"))
    before = get_backbone_spec(name.lower())
    with pytest.raises(BackboneError, match=rf"backbone '{name}': expected a new name"):
        add_spec(build_spec(name))
    assert get_backbone_spec(name.lower()) is before


# --- list and get


def test_list_backbones_is_sorted_and_unique() -> None:
    names = list_backbones()
    assert names == sorted(set(names))
    assert len(names) >= 71


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("resnet*", ["resnet101", "resnet152", "resnet18", "resnet34", "resnet50"]),
        ("densenet1?1", ["densenet121", "densenet161"]),
        ("alex", ["alexnet"]),
        ("net0", ["mnasnet0_5", "mnasnet0_75"]),
        ("*resnet50*", ["resnet50", "wide_resnet50_2"]),
        ("nothing", []),
    ],
)
def test_list_backbones_pattern_selects(pattern: str, expected: list[str]) -> None:
    assert list_backbones(pattern) == expected


def test_get_backbone_spec_describes_it() -> None:
    spec = get_backbone_spec("resnet18")
    assert (spec.name, spec.dim, spec.classifier) == ("resnet18", 512, "fc")


@pytest.mark.parametrize("name", ["resnet-18", "ResNet-18"])
def test_get_backbone_spec_unknown_name_is_refused(name: str) -> None:
    message = rf"^backbone: expected one of \d+ names, got '{name}'\. Nearest: "
    with pytest.raises(BackboneError, match=message):
        get_backbone_spec(name)


@pytest.mark.usefixtures("no_registered")
def test_names_are_matched_in_any_case() -> None:
    add_spec(build_spec("Registry-Own"))
    assert get_backbone_spec("ResNet18") is get_backbone_spec("resnet18")
    assert get_backbone_spec("REGISTRY-OWN").name == "Registry-Own"
    assert list_backbones("RESNET1?") == ["resnet18"]
    assert [normalise_name(name) for name in ("VGG16", "registry-own", "Gone")] == [
        "vgg16",
        "Registry-Own",
        "gone",
    ]


@pytest.mark.usefixtures("no_registered")
def test_names_of_the_zoos_are_in_lower_case() -> None:
    # A request is named by `normalise_name`, which does not look into the zoos.
    assert [name for name in list_backbones() if name != name.lower()] == []


def test_get_backbone_spec_mistyped_name_shows_the_nearest() -> None:
    with pytest.raises(BackboneError, match=r"Nearest: [^.]*\bresnet18\b"):
        get_backbone_spec("resnet-18")

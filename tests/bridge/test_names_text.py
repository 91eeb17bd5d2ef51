"""What a classifier's names say."""

from importlib.resources import files

import pytest

from xmodal.bridge.names_text import imagenet_names, names_text
from xmodal.core.errors import UserError

IDS = ("n02085620", "n01440764", "n04356056")  # Chihuahua, tench, sunglasses


def test_the_1000_classes_in_their_order():
    names = imagenet_names()
    assert len(names) == len({entry.wordnet for entry in names}) == 1000
    assert [names[place].name for place in (0, 151, 207, 281, 999)] == [
        "tench",
        "Chihuahua",
        "golden retriever",
        "tabby",
        "toilet tissue",
    ]
    assert all(entry.ancestors[-1] == "entity" for entry in names)
    assert all(entry.name not in entry.synonyms for entry in names)


def test_names_that_are_shared_say_what_they_are():
    entries = imagenet_names()
    assert len({entry.name for entry in entries}) == len(entries)
    shared = [entry.name for entry in entries if "(" in entry.name]
    meant = {"crane": ("wading bird", "lifting device"), "maillot": ("tights", "swimsuit")}
    assert shared == [f"{name} ({kind})" for name, kinds in meant.items() for kind in kinds]


def test_wordnets_licence_is_beside_its_words():
    licence = (files("xmodal.bridge") / "imagenet_names.LICENCE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence


def test_the_words_are_packaged():
    from configparser import ConfigParser
    from pathlib import Path

    setup = ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    packaged = setup["options.package_data"]["xmodal"].split()
    assert {"bridge/imagenet_names.csv", "bridge/imagenet_names.LICENCE.txt"} <= set(packaged)


@pytest.mark.parametrize(
    ("style", "texts"),
    [
        ("plain", ("a photo of a Chihuahua", "a photo of a tench", "a photo of sunglasses")),
        (
            "synonyms",
            (
                "a photo of a Chihuahua",
                "a photo of a tench, also called a Tinca tinca",
                "a photo of sunglasses, also called dark glasses, shades",
            ),
        ),
        (
            "ancestors",
            (
                "a photo of a Chihuahua, a kind of toy dog, dog",
                "a photo of a tench, a kind of cyprinid, cypriniform fish",
                "a photo of sunglasses, a kind of spectacles, optical instrument",
            ),
        ),
    ],
)
def test_styles(style, texts):
    assert names_text(["", "", ""], IDS, style=style, ancestors=2) == texts


def test_ancestors_up_to_a_number():
    [none] = names_text([""], IDS[:1], style="ancestors", ancestors=0)
    [all_of_them] = names_text([""], IDS[:1], style="ancestors", ancestors=99)
    assert none == "a photo of a Chihuahua"
    assert all_of_them.endswith("living thing, whole, object, physical entity, entity")


def test_names_that_are_not_of_imagenet():
    assert names_text(["fire_engine", "eggs"], template="{}") == ("a fire engine", "eggs")
    with pytest.raises(UserError, match="ancestors are known of the names of ImageNet alone"):
        names_text(["fire_engine"], style="ancestors")


def test_an_unknown_style():
    with pytest.raises(UserError, match=r"did you mean 'synonyms'\?"):
        names_text(["cat"], style="synonym")

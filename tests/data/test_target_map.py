import csv
from pathlib import Path

import numpy as np
import pytest

from xmodal.core.errors import UserError
from xmodal.data.target_map import identity_map, read_descriptions, read_target_map

ROOT = Path(__file__).parents[2]
CLASSES = ("cat", "dog", "oak")
GOOD = "description,target\ncat,animal\ndog,animal\noak,plant\n"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "map.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_answers_of_descriptions_and_of_classes(tmp_path):
    extra = GOOD + "a tall fir,plant\nsnake,animal\n"
    question = read_target_map(written(tmp_path, extra), ("oak", "dog", "cat"))
    assert question.names == ("animal", "plant")
    assert question.descriptions == ("cat", "dog", "oak", "a tall fir", "snake")
    assert question.targets.tolist() == [0, 0, 1, 1, 0]
    assert question.of_class.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        "target,note,description\nanimal,x,cat\nanimal,,dog\nplant,y,oak\n",
        'description,target\n" cat ",animal\n"dog", animal\noak,"plant"\n',
        GOOD + "cat,animal\n",
    ],
    ids=["byte order mark", "Windows lines", "more columns", "spaces", "the same twice"],
)
def test_forms_that_mean_the_same(tmp_path, content):
    question = read_target_map(written(tmp_path, content), CLASSES)
    assert question.names == ("animal", "plant")
    assert question.descriptions == CLASSES
    assert question.of_class.tolist() == question.targets.tolist() == [0, 0, 1]


def test_commas_and_other_scripts_in_descriptions(tmp_path):
    path = written(tmp_path, 'description,target\n"cat, wild",動物\n犬,動物\noak,plante\n')
    question = read_target_map(path, ("cat, wild", "犬"))
    assert question.names == ("動物", "plante")
    assert question.of_class.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no rows with the columns description and target (there are none); add a header and rows"),
        ("description,target\n", "has no rows with the columns description and target"),
        ("text,target\ncat,animal\n", "has no rows with the columns description and target"),
        ("description;target\ncat;animal\n", "has no rows with the columns description and target"),
        (GOOD + "fir,\n", "line 5 lacks a description or a target; fill in both"),
        (GOOD + "  ,plant\n", "line 5 lacks a description or a target"),
        (GOOD + "fir\n", "line 5 lacks a description or a target"),
        (GOOD + "cat,plant\n", "line 5 answers 'cat' with 'plant' after 'animal'; keep one of them"),
        (
            "description,target\ncat,animal\nfir,plant\n",
            "has no description for 2 of the classes: dog, oak; add a line for each class",
        ),
        (GOOD.replace("plant", "animal"), "has only the answer 'animal'; give at least two answers"),
        (GOOD.encode("utf-16"), "cannot be read ("),
        (b"description,target\ncaf\xe9,drink\n", "cannot be read ('utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_remedy(tmp_path, content, problem):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_target_map(path, CLASSES)
    assert str(caught.value).startswith(f"`target_map={path}` {problem}")
    assert "; " in str(caught.value)


@pytest.mark.parametrize("place", ["nowhere.csv", "."])
def test_a_file_that_is_not_there(tmp_path, place):
    with pytest.raises(UserError, match=r"cannot be read \(.*\); give a CSV file in UTF-8"):
        read_target_map(tmp_path / place, CLASSES)


def test_the_question_of_the_classes_themselves():
    question = identity_map(CLASSES)
    assert question.names == question.descriptions == CLASSES
    np.testing.assert_array_equal(question.targets, [0, 1, 2])
    np.testing.assert_array_equal(question.of_class, [0, 1, 2])


def test_the_shipped_question_answers_for_every_digit():
    path = Path(__file__).parents[2] / "experiments" / "digits_parity.csv"
    question = read_target_map(path, tuple("0123456789"))
    assert [question.names[answer] for answer in question.of_class] == ["even", "odd"] * 5


# What classes are about.


def test_descriptions_of_classes(tmp_path):
    path = written(tmp_path, "name,description\nsci.med,medicine\nsci.space,rockets\nsci.med,doctors\n")
    texts, targets = read_descriptions(path, ("rec.autos", "sci.med", "sci.space"))
    assert texts == ["medicine", "rockets", "doctors"]
    assert targets.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "name,description\nsci.mde,x\n",
            "line 2 describes 'sci.mde', which is no class; did you mean 'sci.med'? "
            "(or give `class_descriptions=` to do without)",
        ),
        ("name,description\nsci.med,\n", "line 2 lacks a name or a description; fill in both"),
        (
            "name,text\nsci.med,x\n",
            "has no rows with the columns name and description (there are 'name', 'text'); "
            "add a header and rows",
        ),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path, content, problem):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_descriptions(path, ("sci.med", "sci.space"))
    assert str(caught.value) == f"`class_descriptions={path}` {problem}"


def test_the_shipped_descriptions_are_of_every_newsgroup():
    with open(ROOT / "experiments/newsgroups.csv") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    texts, targets = read_descriptions(ROOT / "experiments/newsgroups.csv", names)
    assert len(names) == len(set(texts)) == 20
    assert targets.tolist() == list(range(20))


def test_descriptions_of_other_data_are_none(tmp_path):
    path = tmp_path / "descriptions.csv"
    path.write_text("name,description\nsci.med,doctors and drugs\nrec.autos,cars\n")
    texts, targets = read_descriptions(path, ("invoice", "letter"))
    assert texts == []
    assert targets.shape == (0,)
    with pytest.raises(UserError, match=r"line 3 describes 'rec\.autos', which is no class"):
        read_descriptions(path, ("sci.med", "letter"))

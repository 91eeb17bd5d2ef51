"""Personal data in names is told."""

import pytest

from xmodal.data.personal_names import personal_warnings


def test_names_of_people_who_can_be_reached_are_told():
    (told,) = personal_warnings(
        ["jane.doe@example.com", "cat"], ["a/+49 170 1234567.txt", "b/4111 1111 1111 1111.png", "c/d.png"]
    )
    assert told == (
        "what looks like personal data stands in class names ([EMAIL]) and file names ([CARD], [PHONE]): "
        "reports show it; rename them"
    )


@pytest.mark.parametrize(
    "name",
    [
        "train/leptodactylus_s_000004.png",
        "IMG_20240102_101112.jpg",
        "alt.atheism/53068",
        "2024-01-02 10.11.12.jpg",
        "Screenshot 2024-01-02 at 10.11.12 PM.png",
        "n02085620_10074.JPEG",
        "0123456789.jpg",
    ],
)
def test_usual_names_of_files_are_no_personal_data(name):
    assert personal_warnings(["cat"], [name] * 3) == ()

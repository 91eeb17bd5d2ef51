"""Which images without labels teach, and what is learned of them."""

import numpy as np

from xmodal.recipes.names_to_answers.student import SURE, sure_images

LOGITS = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.45, 0.55]]))


def test_the_surest_of_each_answer_teach():
    assert SURE == 0.6
    assert sure_images((LOGITS,)).tolist() == [0, 1, 3]


def test_what_teachers_do_not_agree_on_is_left_out():
    other = LOGITS.copy()
    other[0] = other[0, ::-1]
    assert sure_images((other, LOGITS)).tolist() == [1, 2, 3]


def test_an_answer_on_which_teachers_never_agree_teaches_nothing():
    other = LOGITS.copy()
    other[3:] = other[3:, ::-1]
    assert sure_images((other, LOGITS)).tolist() == [0, 1]

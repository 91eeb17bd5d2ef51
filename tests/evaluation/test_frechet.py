import numpy as np
import pytest

from xmodal.evaluation.frechet import frechet_distance


def test_it_is_the_distance_of_known_normal_distributions():
    """Of independent dimensions, it is the sum of the squared differences of means and of deviations."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200_000, 3)) * [1, 2, 3] + [0, 1, 0]
    b = rng.normal(size=(200_000, 3)) * [2, 2, 1] + [3, 1, 0]
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 4, rel=0.01)


def test_it_is_that_of_the_square_root_of_the_product():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(40, 4)) + 1
    product = np.cov(a.T) @ np.cov(b.T)
    root = np.sqrt(np.linalg.eigvals(product).real).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_fewer_examples_than_dimensions():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(10, 300)).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a[::-1] + 2) == pytest.approx(4 * 300, rel=1e-5)


@pytest.mark.parametrize(("a", "b"), [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5,))])
def test_what_has_no_distance(a, b):
    with pytest.raises(ValueError, match=r"expected \(N, D\) and \(M, D\), N and M at least 2. Received"):
        frechet_distance(np.zeros(a), np.zeros(b))

import numpy as np
from skimage.color import rgb2xyz

from recon.light import light_of_srgb, linear_from_srgb, srgb_from_linear


def test_every_byte_comes_back() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    np.testing.assert_array_equal(srgb_from_linear(linear_from_srgb(greys)), greys)
    assert not light_of_srgb().flags.writeable, "it is shared"


def test_light_is_that_of_scikit_image() -> None:
    """Y of a grey is its linear light."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    np.testing.assert_allclose(light_of_srgb(), rgb2xyz(greys)[:, 1], atol=2e-5)


def test_a_mixture_of_black_and_white_is_188_and_light_is_cut_off() -> None:
    assert srgb_from_linear(np.array([[0.5, -0.2, 3.0]])).tolist() == [[188, 0, 255]]

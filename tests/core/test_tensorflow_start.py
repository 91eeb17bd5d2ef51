"""What TensorFlow writes when it starts, and what of it is shown."""

import os

import pytest

from xmodal.core.tensorflow_start import HARMLESS, WITHOUT_GPU, lines_left_out


def test_only_harmless_lines_are_left_out(capfd):
    with lines_left_out(HARMLESS + WITHOUT_GPU):
        os.write(2, b"I0000 oneDNN custom operations are on. You may see\nE0000 no memory\n")
        os.write(2, b"E0000 oneDNN supports DT_BOOL only on platforms with AVX-512. Falling back to ")
        os.write(2, b"the default Eigen-based implementation if present.\nE0000 oneDNN failed\n")
        os.write(2, b"E0000 failed call to cuInit: ERROR\nthe last line, without an end")
    assert capfd.readouterr().err == "E0000 no memory\nE0000 oneDNN failed\nthe last line, without an end"


def test_with_a_gpu_a_driver_that_fails_is_shown(capfd):
    with lines_left_out(HARMLESS):
        os.write(2, b"E0000 failed call to cuInit: ERROR\n")
    assert capfd.readouterr().err == "E0000 failed call to cuInit: ERROR\n"


def test_what_was_written_before_an_error_is_shown(capfd):
    def failing_import():
        with lines_left_out(HARMLESS):
            os.write(2, b"F0000 the library does not fit\n")
            raise ImportError

    with pytest.raises(ImportError):
        failing_import()
    assert capfd.readouterr().err == "F0000 the library does not fit\n"

"""The reader of torch's old format: the real file, and what is made of it by accident or on purpose."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny_torch import content, header, tensor, text

from xmodal.assets.efficientnet_lite0 import EFFICIENTNET_LITE0_FILE, efficientnet_lite0_arrays, read_tensors
from xmodal.assets.fetch import locate
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder


@pytest.fixture(scope="module")
def folder() -> Path:
    return locate("efficientnet_lite0_imagenet", cache=cache_folder())


def reading(tmp_path: Path, found: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / EFFICIENTNET_LITE0_FILE
    path.write_bytes(found)
    return read_tensors(path)


def test_the_real_file(folder):
    arrays = efficientnet_lite0_arrays(folder)
    assert len(arrays) == 296
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32"), np.dtype("int64")}
    counted = [array for name, array in arrays.items() if "running" not in name and array.dtype != np.int64]
    assert sum(array.size for array in counted) == 4_652_008
    assert all(np.isfinite(array).all() for array in counted)


def test_a_tensor_in_c_order_and_one_that_is_transposed(tmp_path):
    found = reading(tmp_path, content(text("rows") + tensor()))
    np.testing.assert_array_equal(found["rows"], [[0, 1, 2], [3, 4, 5]])
    turned = tensor(shape=b"K\x03K\x02", strides=b"K\x01K\x03")
    found = reading(tmp_path, content(text("columns") + turned))
    np.testing.assert_array_equal(found["columns"], [[0, 3], [1, 4], [2, 5]])
    found = reading(tmp_path, content(text("count") + tensor(kind="LongStorage"), dtype="<i8"))
    assert found["count"].dtype == np.int64


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (b"", "exhausted"),
        (b"PK\x03\x04 a zip", "torch's old format"),
        (header(magic=1), "first bytes"),
        (header(version=1), "first bytes"),
        (content(text("a") + tensor(size=5)), "more values than there are"),
        (content(text("a") + tensor(offset=1)), "more values than there are"),
        (content(text("a") + tensor(strides=b"K\x09K\x01")), "more values than there are"),
        (content(text("a") + tensor(strides=b"J\xff\xff\xff\xffK\x01")), "unknown kind"),
        (content(text("a") + tensor(shape=b"K\x02" * 9, strides=b"K\x00" * 9)), "unknown kind"),
        (content(text("a") + tensor(kind="HalfStorage")), "'torch.HalfStorage'"),
        (content(text("a") + tensor(), keys=()), "do not go together"),
        (content(text("a") + tensor(), keys=("1", "1")), "do not go together"),
        (content(text("a") + tensor(), values=range(5)), "not as many"),
        (content(text("a") + tensor())[:-1], "end too early"),
        (content(text("a") + b"cos\nsystem\n" + text("true") + b"\x85R"), "'os.system'"),
        (content(text("a") + b"cbuiltins\neval\n" + text("1") + b"\x85R"), "'builtins.eval'"),
        (content(text("a") + text("b")), "something else"),
        (content(b"K\x01" + tensor()), "something else than strings"),
        (header() + b"\x80\x02}r\xff\xff\xff\xff.", "ends in the middle|keys|exhausted"),
        (header() + b"\x80\x02" + b"]" * 100_001 + b".", "more than 100000 instructions"),
        (header() + b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}.", "FRAME"),
        (header() + b"\x80\x02]" + b"2\x86" * 60 + b".", "DUP"),
    ],
)
def test_a_file_that_is_something_else(tmp_path, found, reason):
    with pytest.raises(UserError, match=reason) as caught:
        reading(tmp_path, found)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("fetch it again with `python -m xmodal.fetch`")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_tensors(tmp_path / "none.pth")


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / EFFICIENTNET_LITE0_FILE
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(UserError, match="more than 67108864 bytes"):
        read_tensors(path)


def test_nothing_that_a_pickle_asks_for_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "evil",)

    with pytest.raises(UserError, match="no dict of tensors needs"):
        reading(tmp_path, header() + pickle.dumps({"a": Evil()}, protocol=2))
    assert not (tmp_path / "evil").exists()


def test_any_broken_byte_is_one_clear_error(folder, tmp_path):
    """Whatever is broken in the instructions: it is read as well as before, or refused in one line."""
    whole = (folder / EFFICIENTNET_LITE0_FILE).read_bytes()
    random = np.random.default_rng(0)
    refused = []
    for place in random.integers(0, 47_000, 60):
        broken = io.BytesIO(whole)
        broken.seek(place)
        broken.write(bytes([random.integers(256)]))
        try:
            reading(tmp_path, broken.getvalue())
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not [line for line in refused if "\n" in line]

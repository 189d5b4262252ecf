"""Arrays in one file, which may be optional."""

import numpy as np
import pytest
from kedro.io import DatasetError

from fruits_pipeline.datasets import ArraysDataset


@pytest.mark.parametrize("optional", [False, True])
def test_what_is_saved_is_loaded(tmp_path, optional):
    dataset = ArraysDataset(filepath=str(tmp_path / "a b" / "é.safetensors"), optional=optional)
    assert not dataset.exists()
    arrays = {"count": np.array([3]), "mean": np.arange(4.0), "digest": np.frombuffer(b"-12", np.uint8)}
    dataset.save(arrays)
    assert dataset.exists()
    found = dataset.load()
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_file_that_is_not_there_is_an_error_unless_optional(tmp_path):
    path = str(tmp_path / "nothing.safetensors")
    assert ArraysDataset(filepath=path, optional=True).load() == {}
    with pytest.raises(DatasetError):
        ArraysDataset(filepath=path).load()

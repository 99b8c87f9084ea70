"""Devices that are not there are refused, never replaced."""

import pytest

from molgen.errors import UsageError
from molgen.model.devices import resolve_device


@pytest.mark.parametrize("name", ["mps", "meta", "xpu", "vulkan", "cpu:7", "cuda:99", "hpu", "abacus", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UsageError, match=f"device .*{name}"):
        resolve_device(name)


def test_the_processor_is_there_and_auto_is_a_device_that_is():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device(resolve_device("auto")) == resolve_device("auto")

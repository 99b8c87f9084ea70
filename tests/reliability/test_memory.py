"""Files of any length are read in the memory of short ones."""

import io
import resource

from molgen_plugins.molecules.io.files import read


class Endless(io.RawIOBase):
    """A list of so many bytes that lies nowhere."""

    def __init__(self, size):
        self._left, self._block = size, b"CC(=O)Oc1ccccc1C(=O)O aspirin\n" * 1000

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self._left, len(self._block))
        buffer[:size] = self._block[:size]
        # Whole lines, so that the list goes on where it ended.
        self._left -= size
        self._block = self._block[size:] + self._block[:size]
        return size


def test_a_long_list_is_read_in_the_memory_of_a_short_one():
    list(read(io.BufferedReader(Endless(30_000)), format="smi"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(1 for record in read(io.BufferedReader(Endless(9_000_000)), format="smi") if record.item)
    assert count == 300_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10

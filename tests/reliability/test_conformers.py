"""What embedding a conformer leaves behind: RDKit handles interrupts by itself while it embeds."""

import signal

import pytest

from molgen_plugins.molecules.geometry.embedding import embedded


def test_an_interrupt_is_heard_after_a_conformer_was_embedded():
    before = signal.getsignal(signal.SIGINT)
    embedded.cache_clear()
    molecule, _ = embedded("CC(C)O", 5)
    assert molecule.GetNumConformers() == 1
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

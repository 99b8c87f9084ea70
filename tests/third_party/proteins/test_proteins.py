import io

import numpy as np
import pytest
import torch
from molgen_proteins import Length, Proteins
from molgen_torsions import Angle, Torsions, WrappedCauchy

from molgen import GenerativeModel, Invalid
from molgen.errors import UsageError
from molgen.testing import parametrize_with_checks

FASTA = b">sp|P1 first\nGIGKFLH\nSAKKF*\n>second\ngigx\n>third\n\n"


@parametrize_with_checks("proteins")
def test_conformance(check):
    check()


@parametrize_with_checks("torsions")
def test_conformance_of_torsions(check):
    check()


def test_fasta_is_read_chain_by_chain():
    proteins = Proteins()
    records = list(proteins.read(io.BytesIO(FASTA), format="fasta"))
    assert [(record.row, record.columns["name"]) for record in records] == [
        (0, "sp|P1 first"),
        (1, "second"),
        (2, "third"),
    ]
    assert [proteins.canonical(record.item) for record in records] == [
        "GIGKFLHSAKKF",
        Invalid("'X' is no amino acid"),
        Invalid("there is no residue"),
    ]


def test_what_is_written_is_read():
    rows = [{"sequence": "GIGKF"}, {"sequence": None}, {"sequence": "KWK"}]
    file = io.BytesIO()
    assert Proteins().write(rows, file, format="fasta") == 2
    file.seek(0)
    assert [record.item for record in Proteins().read(file, format="fasta")] == ["GIGKF", "KWK"]


def test_properties():
    numbers = Proteins().descriptors().properties
    assert numbers["length"]("KRDEG") == 5
    assert numbers["charge"]("KKD") == 1


def test_angles_have_no_ends():
    torsions = Torsions(Length(2))
    left, right = (torsions.encode(((angle, 0.0),))["phi"] for angle in (-180.0, 540.0))
    assert np.allclose(left, right)
    assert torsions.key(((-180.0, 0.0),)) == torsions.key(((179.9, 0.2),))


def test_the_density_of_an_angle_is_one_in_all():
    grid = torch.linspace(-torch.pi, torch.pi, 2001)[:-1]
    likelihood = WrappedCauchy(Angle(), 3)
    parameters = torch.tensor([0.3, -1.2, 0.9])
    density = likelihood.log_density(parameters.expand(2000, 3), grid).exp()
    assert float(density.mean() * 2 * torch.pi) == pytest.approx(1, abs=1e-5)
    drawn = likelihood.sample(parameters.expand(20_000, 3), torch.linspace(0.5 / 20_000, 1 - 0.5 / 20_000, 20_000))
    measured = torch.histc(drawn, 8, -torch.pi, torch.pi) / 20_000
    expected = density.reshape(8, -1).mean(1) * 2 * torch.pi / 8
    assert torch.allclose(measured, expected, atol=3e-3)


@pytest.mark.parametrize("family", ["autoregressive", "diffusion", "flow"])
def test_families_that_were_not_taught_angles_say_so(family):
    with pytest.raises(UsageError, match="Angle") as refused:
        GenerativeModel("torsions", family=family).build()
    assert "\n" not in str(refused.value)

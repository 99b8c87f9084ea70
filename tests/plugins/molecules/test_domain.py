"""The domain and its inspector: plain data in and out, nothing heavy imported early."""

import math
import pickle
import subprocess
import sys

import pytest

from molgen import registry
from molgen.domain import Invalid
from molgen.workers.pool import Workers
from molgen_plugins.molecules.chemistry.inspection import Inspection, inspector
from molgen_plugins.molecules.chemistry.properties import PROPERTIES
from molgen_plugins.molecules.domain import EXAMPLES, Molecules


def test_the_registry_finds_it():
    assert registry.get("domain", "molecules") is Molecules


def test_importing_it_imports_neither_torch_nor_rdkit():
    code = "import sys, molgen_plugins.molecules.domain; sys.exit(bool({'rdkit', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_examples_are_different_molecules():
    domain = Molecules()
    forms = [domain.canonical(item) for item in domain.examples()]
    assert not any(isinstance(form, Invalid) for form in forms)
    assert len({domain.key(form) for form in forms}) == len(forms)


def test_rules_hold_for_strings():
    descriptors = Molecules().descriptors()
    assert list(descriptors.properties) == list(PROPERTIES)
    assert descriptors.properties["rings"]("c1ccccc1") == 1
    assert math.isnan(descriptors.properties["mw"]("no molecule"))
    assert descriptors.filters["moses"]("CC(=O)Oc1ccccc1") is True
    assert descriptors.filters["moses"]("CCI") is False
    assert descriptors.filters["moses"]("C1CC") is False


def test_files_come_back(tmp_path):
    domain = Molecules()
    rows = [{domain.column: item, "name": f"m{number}"} for number, item in enumerate(domain.examples())]
    assert domain.write(rows, tmp_path / "molecules.csv") == len(rows)
    assert [record.item for record in domain.read(tmp_path / "molecules.csv")] == domain.examples()


def test_drawing_is_svg():
    assert Molecules().draw(["CCO"], ["ethanol"]).startswith("<svg")


def test_an_inspection_is_plain_data():
    inspection = inspector(["mw", "rings"], filters=True)("OCC")
    assert inspection == Inspection(
        "CCO", None, {"mw": pytest.approx(46.069), "rings": 0}, True, flags={"closed-shell": True, "moses": True}
    )
    assert pickle.loads(pickle.dumps(inspection)) == inspection


def test_an_inspection_holds_only_what_was_asked():
    assert inspector()("OCC") == Inspection("CCO", None, {}, None)
    assert inspector(["mw"], filters=True)("C1CC") == Inspection(None, "unclosed ring 1", {}, None)


def test_an_unknown_property_is_an_error():
    with pytest.raises(ValueError, match="no property 'weight': there are qed"):
        inspector(["weight"])


def test_molecules_are_inspected_in_workers():
    strings = [*EXAMPLES, "C1CC", "[C+999999999]", "*" * 50_000, "C" * 100_000]
    with Workers(Molecules.inspector, {"properties": ["sa"], "filters": True}, timeout=60) as workers:
        inspections = list(workers.map(strings))
    assert [inspection.smiles for inspection in inspections[: len(EXAMPLES)]] == [
        Molecules().canonical(item) for item in EXAMPLES
    ]
    assert all(inspection.smiles is None and inspection.error for inspection in inspections[len(EXAMPLES) :])

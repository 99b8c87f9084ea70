"""Files of molecules in space: what is written is read, whatever is wrong with an entry."""

import gzip
import io

import numpy as np
import pytest
from rdkit import Chem
from support.geometries import QM9_FILE, conformers, records

from molgen.domain import Invalid
from molgen.errors import UnknownFormat, UsageError
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.io import files, structures


def written(rows, kind):
    stream = io.BytesIO()
    assert files.write(rows, stream, format=kind) == len(rows)
    return stream.getvalue()


def read(content, kind):
    return list(files.read(io.BytesIO(content), format=kind))


@pytest.mark.parametrize(("kind", "error"), [("xyz", 1e-8), ("xyz.gz", 1e-8), ("sdf", 5.1e-5), ("sdf.gz", 5.1e-5)])
def test_what_is_written_comes_back(kind, error):
    domain = Molecules()
    rows = [{"smiles": one, "name": f"m{k}", "log_density": 1.25} for k, one in enumerate(conformers())]
    back = read(written(rows, kind), kind)
    assert [record.row for record in back] == list(range(len(rows)))
    for record, row in zip(back, rows, strict=True):
        found = domain.canonical(record.item)
        assert found == row["smiles"]
        assert found.elements.tolist() == row["smiles"].elements.tolist()
        assert np.abs(np.sort(found.positions, axis=0) - np.sort(row["smiles"].positions, axis=0)).max() <= error
        assert (record.columns["name"], record.columns["log_density"]) == (row["name"], "1.25")


@pytest.mark.parametrize("kind", ["sdf", "xyz"])
def test_rows_keep_their_place_with_what_a_model_drew_and_without(kind):
    scattered = Conformer("", [6, 1, 8], [[0, 0, 0], [0, 0, 3.0], [4.0, 0, 0]], origin="model")
    rows = [
        {"smiles": None, "as_generated": scattered, "status": "invalid", "error": "no bonds fit"},
        {"smiles": None, "as_generated": None, "status": "invalid", "error": "spare row"},
        {"smiles": conformers()[0], "as_generated": None, "status": "valid", "error": None},
    ]
    back = read(written(rows, kind), kind)
    items = [Molecules().canonical(record.item) for record in back]
    assert [record.columns["status"] for record in back] == ["invalid", "invalid", "valid"]
    assert isinstance(items[0], Invalid)
    assert isinstance(items[1], Invalid)
    assert items[2] == "CC=O"
    assert "C 0 0 3" not in back[0].item
    assert back[0].item.count("\n") > 3


def test_a_smiles_without_positions_is_drawn_in_sdf_and_refused_in_xyz():
    back = read(written([{"smiles": "c1ccccc1O"}], "sdf"), "sdf")
    assert Molecules().canonical(back[0].item) == "Oc1ccccc1"
    with pytest.raises(UsageError, match=r"an \.xyz file needs positions, which row 0 lacks"):
        written([{"smiles": "CCO"}], "xyz")


def test_other_programs_read_what_is_written(tmp_path):
    path = tmp_path / "m.sdf"
    path.write_bytes(written([{"smiles": one, "gap": 0.5} for one in conformers()], "sdf"))
    found = list(Chem.SDMolSupplier(str(path), removeHs=False))
    assert [one.GetNumAtoms() for one in found] == [len(one.elements) for one in conformers()]
    assert all(one.GetConformer().Is3D() and one.GetProp("gap") == "0.5" for one in found)


def test_data_fields_are_columns_and_the_first_entries_name_them():
    entry = Chem.MolToMolBlock(Chem.MolFromSmiles("C"))
    text = f"{entry}> <a>\n1\n2\n\n>  25  <b>\nx\n\n$$$$\n{entry}>  <b>\ny\n\n$$$$\n"
    first, second = read(text.encode(), "sdf")
    assert first.columns == {"a": "1\n2", "b": "x"}
    assert second.columns == {"a": "", "b": "y"}


def test_bad_entries_keep_their_place():
    good = "1\nfirst one\nC 0 0 0\n"
    text = f"{good}2\n\nC 0 0 0\nH 0 0 oops\nstray\n{good}3\n\nC 0 0 0\n"
    found = read(text.encode(), "xyz")
    assert len(found) == 4
    assert found[0].columns == {"name": "first one"}
    assert [isinstance(Molecules().canonical(one.item), Invalid) for one in found] == [False, True, False, True]


def test_a_mol_and_a_mol2_file_are_read():
    mol2 = (
        "@<TRIPOS>MOLECULE\nwater\n 3 2 0 0 0\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n"
        " 1 O 0.0 0.0 0.12 O.3 1 HOH 0.0\n 2 H1 0.0 0.76 -0.47 H 1 HOH 0.0\n 3 H2 0.0 -0.76 -0.47 H 1 HOH 0.0\n"
        "@<TRIPOS>BOND\n 1 1 2 1\n 2 1 3 1\n"
    )
    found = read((mol2 * 2).encode(), "mol2")
    assert [one.columns for one in found] == [{"name": "water"}] * 2
    assert [Molecules().canonical(one.item) for one in found] == ["O", "O"]
    single = read(Chem.MolToMolBlock(Chem.MolFromSmiles("CC")).encode(), "mol")
    assert [Molecules().canonical(one.item) for one in single] == ["CC"]


def test_a_mol_file_of_version_3000_is_read():
    from molgen_plugins.molecules.geometry.standard import molecule_of

    conformer = conformers()[2]
    found = Molecules().canonical(Chem.MolToV3KMolBlock(molecule_of(conformer)))
    assert found == conformer
    assert np.abs(found.positions - conformer.positions).max() < 1e-6


def test_endings_say_the_kind(tmp_path):
    path = tmp_path / "geometries.xyz.gz"
    path.write_bytes(gzip.compress(QM9_FILE.read_bytes()))
    assert Molecules.recognises(path)
    assert Molecules.recognises(QM9_FILE)
    assert [one.item for one in files.read(path)] == [one.item for one in records()]
    with pytest.raises(UnknownFormat, match="sdf or xyz"):
        files.find_format("a.mol2", writing=True)


@pytest.mark.parametrize("kind", ["sdf", "mol2", "xyz"])
@pytest.mark.parametrize(
    "content",
    [
        b"\xc2\xb2\nsuperscript\nC 0 0 0\n",
        b"9" * 5000 + b"\n",
        b"999999999\nfar too many\nC 0 0 0\n",
        b"\xff\xfe\x00\n$$$$\n\n\n",
        b"\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n" * 3,
        b"@<TRIPOS>MOLECULE\n" * 4,
        b"1\ncharge=99999999999999999999\nC 0 0 0\n",
        b"M  V30 BEGIN CTAB V3000\nM  END\n> <x\n>\n$$$$\n" * 2,
    ],
)
def test_hostile_files_are_rows_that_say_why(kind, content):
    for record in read(content, kind):
        found = record.item if isinstance(record.item, Invalid) else Molecules().canonical(record.item)
        assert isinstance(found, Invalid | str)


@pytest.mark.parametrize("kind", ["sdf", "mol2", "xyz"])
def test_an_entry_without_an_end_is_not_kept_whole(kind, monkeypatch):
    monkeypatch.setattr(structures, "MOST_LINES", 20)
    head = {"sdf": "", "mol2": "@<TRIPOS>MOLECULE\n", "xyz": "900\n\n"}[kind]
    (record,) = read(f"{head}{'C 0 0 0' + chr(10)}".encode() + b"C 0 0 0\n" * 500, kind)
    assert record.item == Invalid("an entry of more than 20 lines")


def test_an_empty_file_says_so():
    with pytest.raises(UsageError, match="is empty"):
        read(b"", "sdf")


def test_atoms_with_more_bonds_than_the_format_holds_keep_their_places():
    bonds = np.full((9, 9), 3) - 3 * np.eye(9, dtype=int)
    drawn = Conformer("", [6] * 9, np.arange(27.0).reshape(9, 3), bonds=bonds, origin="model")
    (record,) = read(written([{"smiles": None, "as_generated": drawn, "error": "valence"}], "sdf"), "sdf")
    found = Chem.MolFromMolBlock(record.item, sanitize=False, removeHs=False)
    assert np.allclose(found.GetConformer().GetPositions(), drawn.positions)
    assert record.columns["error"] == "valence"

"""The three sources on small files of the same form; `test_network.py` reads the real ones."""

import csv
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections import Counter
from fractions import Fraction
from importlib.metadata import version
from itertools import chain

import numpy as np
import pytest

from molgen.dataset import Dataset
from molgen.errors import MolgenError, UsageError
from molgen_datasets.source import split_of
from molgen_datasets.sources import moses, qm9, zinc250k
from molgen_datasets.sources import moses_statistics as statistics_module
from molgen_datasets.sources.moses import Moses
from molgen_datasets.sources.qm9 import COLUMNS, PROPERTIES, QM9
from molgen_datasets.sources.qm9_geometry import QM9Geometry, members
from molgen_datasets.sources.zinc250k import ZINC250k

MOSES_SPLITS = {"train": ["CCO", "CCN", "CCC"], "test": ["c1ccccc1"], "test_scaffolds": ["C1CC1", "C1CCC1"]}
ZINC = [f"{'C' * n}O" for n in range(1, 61)]


def qm9_rows(part):
    stored = [name for name, _ in COLUMNS.values()]
    for n in range(20):
        row = dict.fromkeys(stored, "0.5") | {
            "SMILES": f"{'C' * (part * 20 + n + 1)}",
            "InChi": f"InChI=1S/x,{part},{n}",
        }
        yield row | {"Index": str(part * 20 + n), "Elements": "['C','H']", "XYZ_Ang": "[[0.,0.0,0.],[1.0,0.,-1.5]]"}


def qm9_part(part):
    rows, text = list(qm9_rows(part)), io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def publish(monkeypatch, module, source, make_wheel, folder, members):
    """Put a wheel into a folder and pin it in the place of the real one."""
    wheel = make_wheel(folder, members)
    monkeypatch.setattr(module, "WHEEL", wheel)
    monkeypatch.setattr(source, "files", wheel.files)
    return wheel


def moses_statistics(count, extra=None):
    """What the benchmark's own package holds of a test set, written as the numpy of its time did."""
    content = {
        "FCD": {"mu": np.ones(3, np.float32), "sigma": np.eye(3)},
        "SNN": {"fps": np.eye(count, 16, dtype=np.uint8)},
        "Frag": {"frag": Counter({"C": 3})},
        "Scaf": {"scaf": Counter({"C1CC1": 2, "": 1})},
        **{name: {"values": [0.5] * count} for name in ("logP", "SA", "QED", "weight")},
        "extra": extra,
    }
    array = np.array(content, dtype=object)
    pickled = pickle.dumps(array, protocol=2).replace(b"numpy._core.", b"numpy.core.")
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("stats.npy", stream.getvalue() + pickled)
    return archive.getvalue()


@pytest.fixture
def small_moses(monkeypatch, make_wheel, index):
    members = {
        f"moses/dataset/data/{split}.csv.gz": gzip.compress("\n".join(["SMILES", *items, ""]).encode(), mtime=0)
        for split, items in MOSES_SPLITS.items()
    }
    members["moses/dataset/data/test_stats.npz"] = moses_statistics(1)
    publish(monkeypatch, moses, Moses, make_wheel, index, members)
    return Moses()


@pytest.fixture
def small_qm9(monkeypatch, make_wheel, mirror):
    members = {f"qm9pack/data/qm9_part{part}.csv": qm9_part(part) for part in (1, 2, 3)}
    publish(monkeypatch, qm9, QM9, make_wheel, mirror, members)
    return QM9()


@pytest.fixture
def small_zinc(monkeypatch, pin):
    content = pin("\n".join([*ZINC, ""]).encode())
    monkeypatch.setattr(zinc250k, "CONTENT", content)
    monkeypatch.setattr(ZINC250k, "files", {"zinc250k.smi": content})
    return ZINC250k()


def zinc_content():
    return "\n".join([*ZINC, ""]).encode()


def zinc_archive(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def link(name, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize("source", [Moses, QM9, QM9Geometry, ZINC250k])
def test_every_source_says_what_it_is(source):
    assert issubclass(source, Dataset)
    assert source.domain == "molecules"
    assert source.description
    assert source.licence != "unknown"
    assert "doi:" in source.citation
    assert all(count > 0 for count in source.splits.values())


@pytest.mark.parametrize("source", [Moses, QM9, QM9Geometry, ZINC250k])
def test_digests_differ_by_split_and_need_no_data(source, cache):
    digests = {split: source().digest(split) for split in source.splits}
    assert len(set(digests.values())) == len(source.splits)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests.values())
    assert not cache.exists()


def test_digests_are_stable():
    """Encoded stores are found by them: a change here makes every user encode anew."""
    assert Moses().digest("train") == "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c"
    assert QM9().digest("train") == "ec5ac77b58fa05871dab185b55d44f386d1aca632baba7adc9ed7fb9cee69044"
    assert ZINC250k().digest("train") == "2528d342e74867812722ef19f96f8720cc8ca4b21f18c5d4c97edcef35192b31"


def test_a_digest_follows_the_content(monkeypatch, pin):
    before = ZINC250k().digest("train")
    monkeypatch.setattr(ZINC250k, "files", {"zinc250k.smi": pin(b"other")})
    assert ZINC250k().digest("train") != before


@pytest.mark.parametrize("source", [Moses, QM9, QM9Geometry, ZINC250k])
@pytest.mark.parametrize("verb", ["items", "records", "digest", "columns"])
def test_an_unknown_split_is_refused_at_once(source, verb, cache):
    with pytest.raises(UsageError, match="no split 'validation'"):
        getattr(source(), verb)("validation")
    assert not cache.exists()


def test_moses_is_downloaded_on_demand_and_then_read_from_the_cache(small_moses, index, files_below, cache):
    assert not small_moses.fetched("train")
    assert {split: list(small_moses.items(split)) for split in small_moses.splits} == MOSES_SPLITS
    assert small_moses.fetched()
    (index / moses.WHEEL.filename).unlink()
    assert list(small_moses.items("test")) == MOSES_SPLITS["test"]
    names = ("test.csv.gz", "test_scaffolds.csv.gz", "test_stats.npz", "train.csv.gz")
    assert files_below(cache) == [f"data/moses-0.3.1/{name}" for name in names]


def test_a_single_split_of_moses_needs_only_its_file(small_moses, index, mirror, make_wheel):
    member = moses.WHEEL.members["moses/dataset/data/test.csv.gz"]
    content = gzip.compress(b"SMILES\nc1ccccc1\n", mtime=0)
    assert len(content) == member.size
    (mirror / "test.csv.gz").write_bytes(content)
    (index / moses.WHEEL.filename).unlink()
    small_moses.fetch(split="test")
    assert small_moses.fetched("test")
    assert not small_moses.fetched()
    with pytest.raises(MolgenError, match="pip cannot download tinyset"):
        small_moses.items("train")


def test_a_damaged_file_in_the_cache_is_an_error_once(small_moses):
    path = small_moses.fetch() / "train.csv.gz"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(MolgenError, match="it was deleted"):
        small_moses.items("train")
    assert list(small_moses.items("train")) == MOSES_SPLITS["train"]


def test_the_records_of_moses_have_no_columns(small_moses):
    assert [(record.row, record.item) for record in small_moses.records("train")] == list(
        enumerate(MOSES_SPLITS["train"])
    )


def test_qm9_reads_all_parts_into_disjoint_splits(small_qm9):
    splits = {split: list(small_qm9.items(split)) for split in small_qm9.splits}
    assert sorted(chain(*splits.values()), key=len) == ["C" * (n + 1) for n in range(20, 80)]
    assert min(map(len, splits.values())) > 0


def test_a_record_of_qm9_has_its_properties_and_its_geometry(small_qm9):
    for number, record in enumerate(small_qm9.records("train")):
        assert record.row == number
        assert record.columns.keys() == small_qm9.columns("train").keys()
        assert len(PROPERTIES) == 15
        assert all(float(record.columns[name]) == 0.5 for name in PROPERTIES)
        assert int(record.columns["index"]) == len(record.item) - 1
        assert json.loads(record.columns["elements"]) == ["C", "H"]
        assert json.loads(record.columns["xyz"]) == [[0.0, 0.0, 0.0], [1.0, 0.0, -1.5]]


def test_the_split_of_geometries_is_the_usual_one():
    """Its sizes, and the first molecules that `RandomState(0)` puts into each part."""
    parts = {split: np.flatnonzero(members(split)) for split in QM9Geometry.splits}
    assert {split: len(part) for split, part in parts.items()} == QM9Geometry.splits
    assert sorted(chain(*parts.values())) == list(range(130_831))
    permutation = np.random.RandomState(0).permutation(130_831)
    assert set(permutation[:100_000]) == set(parts["train"])
    assert set(permutation[-13_083:]) == set(parts["test"])


def test_geometries_of_qm9_are_texts_of_xyz_files(small_qm9, monkeypatch):
    monkeypatch.setattr(QM9Geometry, "files", small_qm9.files)
    source = QM9Geometry()
    records = [record for split in source.splits for record in source.records(split)]
    assert sorted(int(record.columns["index"]) for record in records) == list(range(20, 80))
    assert {record.item for record in records} == {"2\n\nC 0.0 0.0 0.0\nH 1.0 0.0 -1.5\n"}
    assert records[0].columns.keys() == source.columns("train").keys()
    assert [record.item for record in source.records("test")] == list(source.items("test"))


def test_records_and_items_agree(small_qm9):
    for split in small_qm9.splits:
        assert [record.item for record in small_qm9.records(split)] == list(small_qm9.items(split))


@pytest.mark.parametrize("name", ["zinc250k.smi.gz", "zinc.txt.gz"])
@pytest.mark.parametrize(
    "packed", [gzip.compress(zinc_content(), mtime=0), zinc_archive([(tarfile.TarInfo("zinc.txt"), zinc_content())])]
)
def test_zinc_takes_either_file_in_either_form(small_zinc, mirror, name, packed):
    (mirror / name).write_bytes(packed)
    splits = {split: list(small_zinc.items(split)) for split in small_zinc.splits}
    assert sorted(chain(*splits.values()), key=len) == ZINC
    assert Counter(map(split_of, ZINC)) == {split: len(items) for split, items in splits.items()}


def test_a_record_of_zinc_says_where_in_the_file_it_was(small_zinc, mirror):
    (mirror / "zinc250k.smi.gz").write_bytes(gzip.compress(zinc_content(), mtime=0))
    for split in small_zinc.splits:
        records = list(small_zinc.records(split))
        assert [record.row for record in records] == list(range(len(records)))
        assert [ZINC[int(record.columns["index"])] for record in records] == [record.item for record in records]


@pytest.mark.parametrize("named", [True, False])
def test_zinc_without_its_file_says_what_to_put_where(request, named):
    if named:
        request.getfixturevalue("mirror")
    with pytest.raises(UsageError, match="MOLGEN_MIRROR") as caught:
        ZINC250k().items("train")
    for part in ("zinc250k.smi.gz", "2,858,320 bytes", "8c4bc20dc450", "zinc.txt.gz", "wenhao-gao/mol_opt"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_is_read_in_place_whatever_else_is_in_it(small_zinc, mirror, tmp_path, files_below):
    hostile = [
        (link("zinc.txt", tarfile.SYMTYPE), b""),
        (link("hard/zinc.txt", tarfile.LNKTYPE), b""),
        (link("device/zinc.txt", tarfile.CHRTYPE), b""),
        (tarfile.TarInfo("../../escaped"), b"x"),
        (tarfile.TarInfo("/absolute"), b"x"),
        (tarfile.TarInfo("./zinc.txt"), zinc_content()),
    ]
    (mirror / "zinc.txt.gz").write_bytes(zinc_archive(hostile))
    before = files_below(tmp_path)
    assert len(list(small_zinc.items("train"))) > 0
    assert sorted(set(files_below(tmp_path)) - set(before)) == ["cache/data/zinc250k/zinc250k.smi"]


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (b"", "is not the file that is needed"),
        (b"no gzip", "is damaged"),
        (gzip.compress(zinc_content(), mtime=0)[:-10], "is damaged"),
        (gzip.compress(zinc_content(), mtime=0)[:20] + b"xxxxxxxxxxxxxxxx", "is damaged"),
        (gzip.compress(zinc_content() + b"C\n", mtime=0), "is not the file that is needed"),
        (gzip.compress(bytes(30_000_000), mtime=0), "unpacks to more than"),
        (zinc_archive([(tarfile.TarInfo("zinc.txt"), b"C\n")]), "is not the file that is needed"),
        (zinc_archive([(tarfile.TarInfo("other.txt"), zinc_content())]), "an archive without zinc.txt"),
        (zinc_archive([(link("zinc.txt", tarfile.SYMTYPE), b"")]), "an archive without zinc.txt"),
    ],
)
def test_zinc_refuses_what_is_not_the_pinned_content(small_zinc, mirror, cache, files_below, packed, complaint):
    path = mirror / "zinc250k.smi.gz"
    path.write_bytes(packed)
    with pytest.raises(MolgenError, match=complaint):
        small_zinc.items("train")
    assert path.exists()
    assert files_below(cache) == []


def test_a_sparse_member_is_not_unpacked(small_zinc, mirror):
    sparse = tarfile.TarInfo("zinc.txt")
    sparse.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "zinc.txt"}
    sparse.pax_headers |= {"GNU.sparse.size": str(10**12), "GNU.sparse.map": "0,0", "GNU.sparse.numblocks": "1"}
    (mirror / "zinc.txt.gz").write_bytes(zinc_archive([(sparse, b"")]))
    with pytest.raises(MolgenError, match="more than"):
        small_zinc.items("train")


def test_the_split_of_a_key_never_changes():
    assert [split_of(key) for key in ("C", "CC", "CCO", "c1ccccc1", "InChI=1S/CH4/h1H4")] == [
        "test",
        "valid",
        "train",
        "train",
        "train",
    ]
    counts = Counter(split_of(str(number)) for number in range(10_000))
    assert counts["train"] == pytest.approx(8000, rel=0.03)
    assert counts["valid"] == pytest.approx(1000, rel=0.15)
    assert counts["test"] == pytest.approx(1000, rel=0.15)


def test_moses_publishes_statistics_of_its_test_sets(small_moses, monkeypatch):
    found = small_moses.published("test")
    assert found.rows == 1
    assert found.values["fingerprint"].tolist() == [[1, 0]]
    assert {name: found.values[name].tolist() for name in ("logp", "sa", "qed", "mw")} == {
        name: [0.5] for name in ("logp", "sa", "qed", "mw")
    }
    assert found.counts == {"fragments": {"C": 3}, "scaffold": {"C1CC1": 2}}
    assert found.moments["chemnet"][1].tolist() == np.eye(3).tolist()
    assert small_moses.published("test_scaffolds") is None


def test_moses_knows_the_canonical_forms_of_its_training_set(small_moses, monkeypatch):
    monkeypatch.setattr(statistics_module, "_rewritten", lambda: {"rdkit": version("rdkit"), "train": {"CCN": "NCC"}})
    assert list(small_moses.published("train").keys()) == ["CCO", "NCC", "CCC"]
    monkeypatch.setattr(statistics_module, "_rewritten", lambda: {"rdkit": "another", "train": {}})
    assert small_moses.published("train") is None


def test_statistics_name_nothing_but_arrays_and_containers(tmp_path):
    path = tmp_path / "stats.npz"
    path.write_bytes(moses_statistics(1, extra=Fraction(1, 2)))
    with pytest.raises(MolgenError, match=r"names fractions\.Fraction, which is not read"):
        statistics_module.statistics(path)

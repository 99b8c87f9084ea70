"""What a set says of itself, and who can open it: cards, Croissant, pandas, the Hugging Face reader, other formats."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import yaml
from pyarrow import parquet as pq
from support.sets import quick

from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen_datasets.synthetic import convert, models, verify
from molgen_datasets.synthetic.cards import card
from molgen_datasets.synthetic.check import verify as check
from molgen_datasets.synthetic.recipe import ModelChoice
from molgen_datasets.synthetic.writers import Content, writer_of
from molgen_plugins.images.domain import Images


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of 40 molecules in two splits, its folder and its manifest."""
    from molgen_datasets.synthetic import create

    recipe = {
        "model": "moses",
        "count": 40,
        "title": "Forty molecules: a test",
        "licence": "cc0-1.0",
        "labels": {"properties": ["logp"], "density": True},
        "splits": {"shares": {"train": 0.8, "test": 0.2}},
        "output": {"shard_size": 15},
    }
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        path = tmp_path_factory.mktemp("cards") / "set"
        return path, create(recipe, path, engine="serial", device="cpu")


def smiles_of(path, manifest, split):
    files = [one["path"] for one in manifest["files"] if one["split"] == split]
    return [text for name in files for text in pq.read_table(path / name)["smiles"].to_pylist()]


def test_the_card_has_the_head_that_hubs_read(made):
    path, manifest = made
    text = (path / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == "Forty molecules: a test"
    assert head["license"] == "cc0-1.0"
    assert head["size_categories"] == ["n<1K"]
    assert {one["split"]: one["path"] for one in head["configs"][0]["data_files"]} == {
        "train": "data/train-*.parquet",
        "test": "data/test-*.parquet",
    }
    assert head["dataset_info"]["features"][0] == {"name": "smiles", "dtype": "string"}
    assert manifest["models"][0]["sha256"] in text
    assert manifest["recipe_sha256"] in text
    assert "MIT, as the package molsets" in text  # the licence of the training data


def test_the_card_says_how_private_the_models_are(made):
    path, manifest = made
    assert "Nothing here says how private the set is" in (path / "README.md").read_text()
    model = GenerativeModel.load("moses")
    model.info["privacy"] = {"epsilon": 2.5, "not covered": "the number of items"}
    private = models.facts_of(ModelChoice("moses"), model)
    text = card({**manifest, "models": [private]})
    assert "| differential privacy: epsilon | 2.5 |" in text
    assert "| differential privacy: not covered | the number of items |" in text
    assert "Nothing here says how private" not in text
    mixed = card({**manifest, "models": [private, *manifest["models"]]})
    assert "One of the models was trained without differential privacy" in mixed


def test_the_croissant_description_is_valid_and_reads_the_rows(made):
    mlcroissant = pytest.importorskip("mlcroissant")
    path, manifest = made
    dataset = mlcroissant.Dataset(path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    described = json.loads((path / "croissant.json").read_text())
    hashes = {one["@id"]: one["sha256"] for one in described["distribution"] if "sha256" in one}
    assert hashes == {one["path"]: one["sha256"] for one in manifest["files"]}
    assert described["prov:wasGeneratedBy"]["prov:used"][0]["sha256"] == manifest["models"][0]["sha256"]


def test_pandas_opens_a_file_and_its_metadata_says_where_it_is_from(made):
    pandas = pytest.importorskip("pandas")
    path, manifest = made
    first = path / manifest["files"][0]["path"]
    assert len(pandas.read_parquet(path / "data")) == 40
    frame = pandas.read_parquet(first)
    assert list(frame.columns) == list(manifest["columns"])
    assert frame["logp"].dtype == np.float64
    told = json.loads(pq.read_schema(first).metadata[b"molgen"])
    assert told["recipe_sha256"] == manifest["recipe_sha256"]
    assert told["models"] == [{"name": "moses", "sha256": manifest["models"][0]["sha256"]}]


def test_the_reader_of_the_hub_opens_the_folder(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    path, manifest = made
    loaded = datasets.load_dataset(str(path), cache_dir=str(tmp_path))
    assert loaded["test"].features["logp"] == datasets.Value("float64")
    assert {name: list(rows["smiles"]) for name, rows in loaded.items()} == {
        split: smiles_of(path, manifest, split) for split in ("train", "test")
    }


@pytest.mark.parametrize("format", ["csv", "sdf", "folder", "webdataset", "parquet"])
def test_a_set_is_converted_with_all_its_rows(made, tmp_path, format):
    path, manifest = made
    other = convert(path, tmp_path / "other", format, shard_size=100)
    assert [one["rows"] for one in other["files"]] == [manifest["splits"]["train"], manifest["splits"]["test"]]
    assert verify(tmp_path / "other") == []
    assert items_in(tmp_path / "other" / other["files"][0]["path"], format) == smiles_of(path, manifest, "train")
    assert (tmp_path / "other" / "README.md").read_text().startswith("---\n")


def items_in(path, format):
    if format == "csv":
        with path.open(newline="") as file:
            return [row["smiles"] for row in csv.DictReader(file)]
    if format == "folder":
        with (path / "metadata.csv").open(newline="") as file:
            return [(path / row["file_name"]).read_text() for row in csv.DictReader(file)]
    if format == "webdataset":
        with tarfile.open(path) as archive:
            names = [name for name in archive.getnames() if name.endswith(".smi")]
            assert [f"{name.removesuffix('.smi')}.json" in archive.getnames() for name in names]
            return [archive.extractfile(name).read().decode() for name in names]
    if format == "sdf":
        from rdkit import Chem

        return [Chem.MolToSmiles(molecule) for molecule in Chem.SDMolSupplier(str(path))]
    return pq.read_table(path)["smiles"].to_pylist()


def test_only_sets_in_parquet_are_converted_and_into_new_folders(made, tmp_path):
    path, _ = made
    convert(path, tmp_path / "csv", "csv")
    with pytest.raises(UsageError, match="sets in parquet are converted"):
        convert(tmp_path / "csv", tmp_path / "x", "sdf")
    with pytest.raises(UsageError, match="exists"):
        convert(path, tmp_path / "csv", "csv")
    with pytest.raises(UsageError, match="no data set"):
        check(tmp_path)


def test_pictures_are_files_in_every_format(tmp_path):
    import pyarrow as pa

    images = [np.full((3, 4), value, np.uint8) for value in (0, 128, 255)]
    stored = [Images().stored(image) for image in images]
    table = pa.table({"image": pa.array(stored, pa.binary()), "ink": [0.0, 0.5, 1.0]})
    content = Content(Images(), table.schema, [table])
    assert writer_of("png", Images()) == writer_of("folder", Images())
    for format in ("png", "webdataset", "parquet", "zip"):
        writer = writer_of(format, Images())
        assert writer.write(content, tmp_path / f"x{writer.ending}") == 3
    files = sorted((tmp_path / "x").glob("*.png"))
    assert [
        np.array_equal(Images().canonical(one.read_bytes()), image) for one, image in zip(files, images, strict=True)
    ]
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.extractfile("00000001.png").read() == stored[1]
        assert json.load(io.TextIOWrapper(archive.extractfile("00000001.json"))) == {"ink": 0.5}


def test_a_deep_look_finds_what_hashes_cannot(made, tmp_path):
    import shutil

    from molgen.atomic_files import sha256

    path = tmp_path / "set"
    shutil.copytree(made[0], path)
    file = path / made[1]["files"][0]["path"]
    table = pq.read_table(file)
    doubled = table.slice(0, 14).to_pylist()
    doubled = [*doubled, doubled[3]]
    doubled[0]["smiles"] = "OCC"
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(doubled, schema=table.schema), file)
    text = (path / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["files"][0] |= {"sha256": sha256(file), "bytes": file.stat().st_size}
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert verify(path) == []
    found = verify(path, deep=True)
    assert any("not in canonical form" in line for line in found)
    assert any("its key comes before" in line for line in found)

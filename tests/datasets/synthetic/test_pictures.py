"""Sets of items that are files: pictures of a model that learned nothing, in Parquet and as a folder of PNG files."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import yaml
from pyarrow import parquet as pq

from molgen.config import Part
from molgen.errors import MolgenError
from molgen.model.generative_model import GenerativeModel
from molgen_datasets.synthetic import convert, create, verify
from molgen_plugins.images.domain import Images


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    backbone = Part("recurrent", {"width": 4, "layers": 1, "embedding": 4})
    pixels = Part("images.pixels", {"height": 3, "width": 5, "levels": 4})
    made = GenerativeModel(pixels, "autoregressive", backbone)
    made.use(made.build())
    path = tmp_path_factory.mktemp("pictures") / "model"
    made.save(path)
    return path


@pytest.fixture
def settings(model, monkeypatch):
    monkeypatch.setattr(Images, "inspector", None)
    return {"model": str(model), "count": 12, "labels": {"properties": ["ink"]}, "output": {"shard_size": 5}}


def test_pictures_lie_in_parquet_as_files_and_become_a_folder(settings, tmp_path):
    made = create(settings, tmp_path / "set", engine="serial", device="cpu")
    values = [v for one in made["files"] for v in pq.read_table(tmp_path / "set" / one["path"])["image"].to_pylist()]
    pictures = [Images().from_stored(value) for value in values]
    assert {picture.shape for picture in pictures} == {(3, 5)}
    assert len({Images().key(picture) for picture in pictures}) == 12
    assert verify(tmp_path / "set", deep=True) == []
    head = yaml.safe_load((tmp_path / "set" / "README.md").read_text().split("---\n")[1])
    assert head["dataset_info"]["features"][0] == {"name": "image", "dtype": "image"}

    other = convert(tmp_path / "set", tmp_path / "folder", "png", shard_size=12)
    (folder,) = [tmp_path / "folder" / one["path"] for one in other["files"]]
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ink"]) >= 0 for row in rows]
    read = [Images().canonical((folder / row["file_name"]).read_bytes()) for row in rows]
    assert all(np.array_equal(one, two) for one, two in zip(read, pictures, strict=True))


def test_a_folder_of_files_is_made_and_repaired(settings, tmp_path):
    path = tmp_path / "set"
    folders = {**settings, "output": {"format": "folder", "shard_size": 5}}
    made = create(folders, path, engine="serial", device="cpu")
    first = path / made["files"][0]["path"]
    (first / "00000002.png").unlink()
    assert verify(path)[0].startswith(made["files"][0]["path"])
    assert create(None, path, resume=True, engine="serial", device="cpu") == made
    assert verify(path) == []


def test_a_domain_without_groups_and_patterns_says_so(settings, tmp_path):
    for wrong, message in (
        ({"splits": {"method": "cluster"}}, "split at random"),
        ({"filters": {"contain": ["x"]}}, "no language"),
    ):
        with pytest.raises(MolgenError, match=message):
            create({**settings, **wrong}, tmp_path / "set", engine="serial", device="cpu")

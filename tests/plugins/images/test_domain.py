"""The domain and its inspector: plain data in and out, hostile files for workers, nothing heavy imported early."""

import math
import pickle
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from molgen.domain import Invalid
from molgen.workers.inspector import Inspector
from molgen_plugins.images.domain import Images
from molgen_plugins.images.examples import digit, ring
from molgen_plugins.images.inspection import inspector
from molgen_plugins.images.pixels import Pixels
from molgen_plugins.images.properties import FEATURES, PROPERTIES
from molgen_plugins.images.raster import encoded


def test_the_entry_points_lead_to_it():
    with (Path(__file__).parents[3] / "pyproject.toml").open("rb") as file:
        entries = tomllib.load(file)["project"]["entry-points"]
    found = {}
    for kind, name in (("domain", "images"), ("encoder", "images.pixels")):
        module, _, cls = entries[f"molgen.{kind}"][name].partition(":")
        found[name] = getattr(import_module(module), cls)
    assert found == {"images": Images, "images.pixels": Pixels}


def test_importing_it_imports_neither_torch_nor_pillow():
    code = "import sys, molgen_plugins.images.domain; sys.exit(bool({'PIL', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_examples_are_different_images():
    domain = Images()
    forms = [domain.canonical(item) for item in domain.examples()]
    assert not any(isinstance(form, Invalid) for form in forms)
    assert len({domain.key(form) for form in forms}) == len(forms)


def test_rules_hold_for_arrays_and_files():
    descriptors = Images().descriptors()
    assert list(descriptors.properties) == list(PROPERTIES)
    half = np.array([[0, 255], [0, 255]], np.uint8)
    assert [descriptors.properties[name](half) for name in PROPERTIES] == pytest.approx([0.5, 0.5, 0.5])
    assert descriptors.properties["intensity"](encoded(half)) == 0.5
    assert descriptors.properties["contrast"](np.full((3, 3, 3), 200, np.uint8)) == pytest.approx(0, abs=1e-12)
    assert math.isnan(descriptors.properties["ink"](b"no image"))
    assert descriptors.features["pixels"](half).tolist() == [0, 1, 0, 1]
    assert descriptors.features["pixels"](None) is None


def test_files_come_back(tmp_path):
    domain = Images()
    rows = [{domain.column: item, "name": f"m{number}"} for number, item in enumerate(domain.examples())]
    assert domain.write(rows, tmp_path / "pictures") == len(rows)
    for row, record in zip(rows, domain.read(tmp_path / "pictures"), strict=True):
        assert np.array_equal(domain.canonical(record.item), row["image"])
        assert record.columns == {"name": row["name"]}


def test_drawing_is_svg():
    assert Images().draw([digit(1)], ["one"]).startswith("<svg")


def test_an_inspection_is_plain_data():
    inspection = inspector(["ink"], filters=True, features=["pixels"])(encoded(digit(1)))
    assert np.array_equal(inspection.image, digit(1))
    assert (inspection.error, inspection.passes) == (None, True)
    assert inspection.properties == {"ink": pytest.approx((digit(1) > 0).mean())}
    assert inspection.features["pixels"].shape == (784,)
    assert np.array_equal(pickle.loads(pickle.dumps(inspection)).image, digit(1))


def test_an_inspection_holds_only_what_was_asked():
    inspection = inspector()(digit(1))
    assert (inspection.properties, inspection.passes, inspection.features) == ({}, None, {})
    assert inspector(["ink"], filters=True)(b"").error == "the file is empty"


def test_an_unknown_property_or_feature_is_an_error():
    with pytest.raises(ValueError, match="no 'weight': there are intensity"):
        inspector(["weight"])
    with pytest.raises(ValueError, match=f"no 'inception': there are {', '.join(FEATURES)}"):
        inspector(features=["inception"])


def test_images_are_judged_in_workers():
    domain = Images()
    items = [*domain.examples(), encoded(ring(40)), b"", encoded(ring(9))[:40], np.zeros((3, 3)), Invalid("no row")]
    with Inspector(domain, ["intensity"], processes=1, features=["pixels"]) as inspector:
        inspections = inspector.submit(items).result()
    assert [inspection.error for inspection in inspections[:-4]] == [None] * (len(items) - 4)
    assert all(inspection.item is None and inspection.error for inspection in inspections[-4:])
    assert np.array_equal(inspections[len(domain.examples())].item, ring(40))
    assert inspections[0].properties["intensity"] == pytest.approx((digit(0) > 0).mean())


def test_the_limits_of_pillow_are_no_part_of_it(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "too large" in Images().canonical(b"P5 100000 100000 255\n").reason

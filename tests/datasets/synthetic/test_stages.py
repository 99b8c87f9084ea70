"""Sets of two stages: a first model draws molecules, and a second one the rest of each, here positions in space."""

from __future__ import annotations

import json

import pytest
from pyarrow import parquet as pq
from support.models import memorising_model
from support.sets import quick
from support.stages import positions_model

from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen.model.stages import Stages
from molgen_cli.main import main
from molgen_datasets.synthetic import create, plan
from molgen_datasets.synthetic.recipe import recipe_from
from molgen_plugins.molecules.domain import Molecules

STEPS = {"then_steps": 1}
#: The SHA-256 of a plain recipe before there were second stages.
EARLIER = "093b4d240d90e3d8dbfea75971210716f7b816d8dc78ff0ff61396441a2a1410"


def staged():
    """A model of molecules and one of positions, as a recipe has them."""
    return {"model": str(memorising_model()), "then": str(positions_model()), "options": STEPS}


#: Molecules come more than once, and not in the order of filters and lists.
ANY = {"filters": {"unique": False, "alerts": "none"}, "output": {"shard_size": 2}}


LABELS = {"density": True, "provenance": True}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """The density of positions is that of a flow, and takes its time: a set draws no more than it has rows."""
    monkeypatch.setattr(plan, "FEWEST", 4)


@pytest.fixture(scope="module")
def staged_set(tmp_path_factory):
    """A set of four with densities and where they are from: its folder and its manifest."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        patch.setattr(plan, "FEWEST", 4)
        path = tmp_path_factory.mktemp("staged") / "set"
        return path, create({"count": 4, **staged(), **ANY, "labels": LABELS}, path, engine="serial", device="cpu")


def test_rows_are_what_both_models_draw_with_the_density_of_both(staged_set, rows_of):
    rows = rows_of(*staged_set)
    assert len(rows) == 4
    model = Stages(*map(GenerativeModel.load, (memorising_model(), positions_model())))
    for row in rows:
        item = Molecules().from_stored(row["smiles"])
        assert hasattr(item, "positions")
        assert row["log_density"] == pytest.approx(row["log_density_given"] + row["log_density_rest"], abs=1e-4)
        assert row["log_density_kind"] == row["log_density_given_kind"] == row["log_density_rest_kind"] == "exact"
        given = model.first.log_density([Molecules().canonical(str(item))])[0].log_density
        assert row["log_density_given"] == pytest.approx(given, abs=1e-3)
    assert {row["model"] for row in rows} == {f"{memorising_model().name}, then {positions_model().name}"}
    assert set(rows[0]) == set(staged_set[1]["columns"])


def test_card_provenance_croissant_and_record_name_both_models(staged_set, capsys):
    path, made = staged_set
    digests = [GenerativeModel.load(folder).digest for folder in (memorising_model(), positions_model())]
    one = {"name": memorising_model().name, "sha256": digests[0]}
    one["then"] = {"name": positions_model().name, "sha256": digests[1]}
    card = (path / "README.md").read_text()
    assert all(digest in card for digest in digests)
    assert "## Model 1, second stage" in card
    assert f"drawn from {one['name']}, then {one['then']['name']} on" in card
    told = json.loads(pq.read_schema(path / made["files"][0]["path"]).metadata[b"molgen"])
    assert told["models"] == [one]
    described = json.loads((path / "croissant.json").read_text())
    assert [used["sha256"] for used in described["prov:wasGeneratedBy"]["prov:used"]] == digests
    assert json.loads((path / "dataset.run.json").read_text())["models"] == [one]
    assert main(["dataset", "info", str(path)]) == 0
    assert f"then {one['then']['name']}: SHA-256 {digests[1]}" in capsys.readouterr().out


def test_a_damaged_set_is_made_again_as_it_was(make):
    structures = {**ANY, "output": {"format": "sdf", "shard_size": 4}}
    path, made = make(10, **staged(), **structures)
    shard = path / made["files"][1]["path"]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-7])
    _, again = make(10, folder=path, resume=True, **staged(), **structures)
    assert again == made
    assert shard.read_bytes() == whole
    assert all(hasattr(Molecules().canonical(record.item), "positions") for record in Molecules().read(shard))


def test_each_model_of_a_mixture_may_have_a_second_stage(make, rows_of):
    models = [staged(), {"model": str(memorising_model())}]
    rows = rows_of(*make(8, models=models, **ANY, labels=LABELS))
    spatial = {bool(row["log_density_rest_kind"]) for row in rows if "\n" in row["smiles"]}
    assert spatial == {True}
    flat = [row for row in rows if "\n" not in row["smiles"]]
    assert 0 < len(flat) < 8
    assert {row["log_density_rest"] for row in flat} == {None}
    assert {row["model"] for row in flat} == {memorising_model().name}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", [pytest.param("local"), pytest.param("ray", marks=pytest.mark.slow)])
def test_workers_leave_the_same_bytes(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "FEWEST", 64)  # as workers have it
    if engine == "ray":
        pytest.importorskip("ray")
        monkeypatch.setenv("MOLGEN_TESTS_ALLOW_NETWORK", "1")  # its processes talk by the address of this machine
    recipe = {"count": 70, **staged(), **ANY}
    alone = create(recipe, tmp_path / "alone", engine="serial", device="cpu")
    assert create(recipe, tmp_path / engine, engine=engine, workers=2, device="cpu") == alone


def test_a_second_stage_is_a_part_of_what_the_set_follows_from(make):
    other = positions_model("diffusion")
    first, second = (make(5, **{**staged(), "then": str(then)}, **ANY)[1] for then in (positions_model(), other))
    assert first["recipe_sha256"] != second["recipe_sha256"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"then": "MOLECULES"}, r"cannot be the second stage of .*: the second model \(autoregressive\) draws whole"),
        ({"model": "POSITIONS"}, "is a second stage: name it as `then` of a model"),
        ({"then": "nowhere"}, "nowhere"),
        ({"model": None, "models": [{"model": "moses"}], "then": "POSITIONS"}, "then of a mixture: give it to each"),
        ({"them": "POSITIONS"}, "no setting 'them'.*did you mean 'then'"),
    ],
)
def test_what_does_not_fit_is_one_line(make, settings, message):
    folders = {"MOLECULES": str(memorising_model()), "POSITIONS": str(positions_model())}
    asked = {"model": "MOLECULES", **settings}
    values = {name: folders.get(str(value), value) for name, value in asked.items() if value is not None}
    with pytest.raises(UsageError, match=message) as raised:
        make(4, **values)
    assert "\n" not in str(raised.value)


def test_a_recipe_without_a_second_stage_has_the_identity_that_it_had():
    from molgen_datasets.synthetic.recipe import fingerprint

    facts = {"models": [{"sha256": "a"}], "references": {}, "lists": [], "conditions": None}
    assert fingerprint(recipe_from({"model": "moses", "count": 3}), facts) == EARLIER

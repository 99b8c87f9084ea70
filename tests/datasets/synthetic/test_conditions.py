"""What draws are asked for: one value for all, the rows of a table, the training data's own distribution."""

from __future__ import annotations

import pytest
from support.conditional import KINDS, conditional_model

from molgen.errors import UsageError


@pytest.fixture
def conditioned(make, rows_of):
    """The rows of a set of the model with these conditions, in their order."""

    def run(count=40, **conditions):
        settings = {"filters": {"unique": False}, "conditions": conditions, "labels": {"provenance": True}}
        surest = {"model": str(conditional_model()), "options": {"temperature": 0.5}}
        return rows_of(*make(count, models=[surest], **settings))

    return run


def test_one_value_for_all(conditioned):
    rows = conditioned(fixed={"kind": "alcohol", "dose": 2})
    assert {(row["smiles"], row["condition_kind"], row["condition_dose"]) for row in rows} == {("CO", "alcohol", 2.0)}


def test_each_draw_takes_its_row(conditioned, tmp_path):
    path = tmp_path / "wishes.csv"
    path.write_text("name,kind,dose\na,alkane,1\nb,alcohol,\nc,alcohol,5\n")
    rows = conditioned(rows=str(path))
    for row in rows:
        wish = [("alkane", 1.0), ("alcohol", None), ("alcohol", 5.0)][row["draw"] % 3]
        assert (row["condition_kind"], row["condition_dose"]) == wish
        assert KINDS[row["smiles"]] == row["condition_kind"]


def test_conditions_as_the_training_data_have_them(conditioned):
    rows = conditioned(400, marginals=["kind", "dose"])
    assert sum(row["condition_kind"] == "alcohol" for row in rows) / 400 == pytest.approx(0.75, abs=0.07)
    assert {row["condition_dose"] for row in rows} == {1.0, 2.0, 5.0}
    assert all(KINDS[row["smiles"]] == row["condition_kind"] for row in rows)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"fixed": {"kind": "ketone"}}, "no class 'ketone'"),
        ({"marginals": ["sise"]}, "no condition sise"),
        ({"rows": "nowhere.csv"}, "no such file and no such data set"),
        ({"rows": "WISHES", "columns": ["does"]}, "has no column 'does'; did you mean 'dose'"),
        ({"rows": "WISHES"}, "no class 'ketone'"),
    ],
)
def test_conditions_that_the_model_has_not(conditioned, tmp_path, conditions, message):
    (tmp_path / "WISHES.csv").write_text("dose,kind\n1,ketone\n")
    conditions = {n: str(tmp_path / "WISHES.csv") if v == "WISHES" else v for n, v in conditions.items()}
    with pytest.raises(UsageError, match=message):
        conditioned(**conditions)

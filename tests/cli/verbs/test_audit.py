"""`molgen dataset audit` and `canaries` from the command line, on sets of several domains."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from molgen import registry
from molgen_cli.main import main

#: Nothing is learned and nothing evaluated.
PRIVACY = ["--metrics", "none", "--label", "none"]
#: The file that a set of each domain is written to here.
FILES = {"molecules": "{}.smi", "images": "{}.npz", "audio": "{}.zip"}


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """Items are inspected in this process, and nothing is found in the cache of others."""
    for name in FILES:
        for inspector in ("inspector", "canonical_inspector"):
            monkeypatch.setattr(registry.get("domain", name), inspector, None)
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))


def written(folder, name, items, stem):
    """The path of a file with items of a domain."""
    domain = registry.get("domain", name)()
    path = folder / FILES[name].format(stem)
    domain.write([{domain.column: item} for item in items], path)
    return str(path)


def made_up(name, count):
    """Different items of a domain."""
    domain, rng, found = registry.get("domain", name)(), np.random.default_rng(0), {}
    while len(found) < count:
        item = domain.canonical(domain.canary(rng, domain.examples()[:1] if name != "molecules" else ["C" * 24]))
        found[domain.key(item)] = item
    return list(found.values())


@pytest.mark.parametrize("name", FILES)
def test_copies_and_canaries_of_any_domain_are_found(name, tmp_path, capsys):
    items = made_up(name, 100)
    train = written(tmp_path, name, items[:40], "train")
    holdout = written(tmp_path, name, items[40:80], "holdout")
    planted = str(tmp_path / FILES[name].format("planted"))
    options = ["-n", "4", "--controls", "8", "--copies", "2", "--seed", "5"]
    assert main(["dataset", "canaries", train, "-o", planted, *options]) == 0
    domain = registry.get("domain", name)()
    kept = [domain.key(domain.canonical(record.item)) for record in domain.read(planted)]
    assert len(kept) == 48
    assert [key for key in kept if key in {domain.key(item) for item in items[:40]}] == list(
        map(domain.key, items[:40])
    )
    noted = json.loads((tmp_path / f"{planted}.canaries.json").read_text())
    assert (len(noted["planted"]), len(noted["controls"]), noted["training"]["rows"]) == (4, 8, 40)

    canaries = [record.item for record in domain.read(planted)]
    canaries = [item for item, key in zip(canaries, kept, strict=True) if kept.count(key) == 2]
    drawn = written(tmp_path, name, [*items[:30], *items[80:], *map(domain.canonical, canaries)], "drawn")
    output = tmp_path / "audit.json"
    capsys.readouterr()
    files = ["-o", str(output), "--report", str(tmp_path / "audit.html"), "--items", str(tmp_path / "items.csv")]
    arguments = ["-t", planted, "--holdout", holdout, "--canaries", f"{planted}.canaries.json", "-q"]
    asked = ["--metrics", "validity,novelty", "--repeats", "2"]
    assert main(["dataset", "audit", drawn, *arguments, *files, *asked]) == 0
    assert capsys.readouterr().err == ""
    found = figures(output)
    assert found["exact copies of training items"]["value"] == 38 / 58
    assert found["exact copies of training items"]["control"] == 0
    assert found["closer to training than to holdout"]["above_null"]
    assert found["canaries made again"]["value"] == 1
    assert found["canaries by the nearest synthetic item: AUC"]["value"] == 1
    assert found["distance to the nearest synthetic item: AUC"]["above_null"]
    assert found["validity"]["value"] == 1
    assert found["novelty"]["value"] == 20 / 54
    if domain.usual_properties:
        assert 0.5 < found["columns, mean"]["value"] < 1
        assert "TSTR less TRTR" in found
    with (tmp_path / "items.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert ([row["set"] for row in rows].count("training"), len(rows)) == (40, 80)
    page = (tmp_path / "audit.html").read_text()
    assert "no proof of privacy" in page
    assert "src=" not in page.replace("img-src", "")
    record = json.loads((tmp_path / "audit.json.run.json").read_text())
    assert record["command"] == "dataset audit"
    assert record["sets"]["train"]["rows"] == 48


def figures(path):
    return {one["label"]: one for section in json.loads(path.read_text())["sections"] for one in section["findings"]}


def test_a_model_that_remembers_is_shown_by_its_densities(model, tmp_path, capsys):
    from support.models import LEARNED

    train = written(tmp_path, "molecules", [item for item in LEARNED if item != "OCC"], "train")
    holdout = written(tmp_path, "molecules", ["CCF", "CCBr", "NCO", "CC=O", "C1CCC1", "CNC", "CC#C"], "holdout")
    drawn = written(tmp_path, "molecules", ["CCO", "CCO", "CCN", "C1CC1"], "drawn")
    noted = tmp_path / "noted.json"
    about = {"format": 1, "domain": "molecules", "planted": ["CC#N", "CCCl"], "controls": ["CC#P", "CCI", "NNN", "O"]}
    noted.write_text(json.dumps(about))
    arguments = ["-t", train, "--holdout", holdout, "-m", model, "--canaries", str(noted)]
    arguments += PRIVACY
    found = []
    for output in (tmp_path / "one.json", tmp_path / "two.json"):
        assert main(["dataset", "audit", drawn, *arguments, "--reference-model", model, "-o", str(output)]) == 0
        found.append({**json.loads(output.read_text()), "seconds": None})
    assert found[0] == found[1]
    one = figures(tmp_path / "one.json")
    assert one["loss: AUC"]["value"] == 1
    assert one["loss: TPR at 1 % FPR"]["value"] == 1
    assert one["loss, calibrated: AUC"]["value"] == 0.5  # of a model and itself
    assert one["exposure in bits"]["value"] == pytest.approx(np.log2(5))
    assert one["canaries by loss: AUC"]["value"] == 1
    assert found[0]["model"]["family"] == "autoregressive"
    said = capsys.readouterr().err
    assert "loss: AUC" in said
    assert "ABOVE" in said
    assert main(["dataset", "audit", drawn, *arguments, *["--reference-model", model] * 2]) == 0
    said = capsys.readouterr().out
    assert "exposure in bits" in said
    assert "likelihood ratio (LiRA, offline): AUC" in said


def test_a_made_set_and_a_data_set_by_name_are_read(tmp_path, monkeypatch, capsys):
    from support.sets import quick

    quick(monkeypatch)
    folder = str(tmp_path / "set")
    options = ["--engine", "serial", "--device", "cpu", "filters.alerts=none", "-q"]
    assert main(["dataset", "create", "-m", "moses", "-n", "20", "-o", folder, *options]) == 0
    items = made_up("molecules", 20)
    train, holdout = (written(tmp_path, "molecules", part, str(n)) for n, part in enumerate((items[:10], items[10:])))
    assert (
        main(["dataset", "audit", folder, "-t", train, "--holdout", holdout, *PRIVACY, "-o", str(tmp_path / "a.json")])
        == 0
    )
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["domain"], found["sets"]["synthetic"]["compared"]) == ("molecules", 20)
    assert main(["dataset", "audit", folder, "-t", "mnist", "--holdout", holdout]) == 2
    assert "the data set mnist holds images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drawn.smi", "-t", "nowhere.smi", "--holdout", "holdout.smi"], "nowhere.smi: there is no such file"),
        (["drawn.smi", "-t", "mosess", "--holdout", "holdout.smi"], "did you mean 'moses'"),
        (["drawn.smi", "-t", "moses:tran", "--holdout", "holdout.smi"], "no split 'tran'"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "none.smi"], "none of 2 rows is an item"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--domain", "molecule"], "molecule"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--canaries", "train.smi"], "holds no canaries"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--canaries", "n.json"], "n.json: No such file"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "-m", "mosse"], "no model 'mosse'"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "one.smi"], "at least 2 training items"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--near", "x"], "is not a number from 0"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "-o", "train.smi"], "train.smi exists"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--metrics", "FDC"], "did you mean 'FCD'"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--label", "lopg"], "did you mean 'logp'"),
        (["drawn.smi", "-t", "train.smi", "--holdout", "holdout.smi", "--reference-model", "moses"], "name that too"),
        (["drawn.smi", "-t", "train.smi"], "--holdout"),
        (["begun", "-t", "train.smi", "--holdout", "holdout.smi"], "the set is not finished"),
        (["drawn.xyz7", "-t", "also.xyz7", "--holdout", "this.xyz7"], "there is no such file"),
    ],
)
def test_what_cannot_be_audited_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = {"drawn": "CCO\nCCN\n", "train": "CCC\nCCO\n", "holdout": "CCF\nCCI\n", "none": "x\ny\n", "one": "C\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.smi").write_text(text)
    (tmp_path / "begun" / ".molgen").mkdir(parents=True)
    try:
        code = main(["dataset", "audit", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.smi", "-n", "3", "--from", "train.smi"], "gives 0 different canaries; 4 are needed"),
        (["moses:tran"], "no split 'tran'"),
        (["train.smi", "-n", "0"], "whole number from 1"),
    ],
)
def test_canaries_that_cannot_be_planted_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.smi").write_text("CCO\nCCN\n")
    try:
        code = main(["dataset", "canaries", *arguments, "-o", "out.smi"])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_domain_that_makes_nothing_up_takes_canaries_from_a_file(tmp_path, monkeypatch, capsys):
    from molgen.domain import Domain
    from molgen_datasets.audit import canaries

    items = made_up("molecules", 30)
    train, others = (written(tmp_path, "molecules", part, str(n)) for n, part in enumerate((items[:10], items[10:])))
    monkeypatch.setattr(registry.get("domain", "molecules"), "canary", Domain.canary)
    target = str(tmp_path / "planted.smi")
    assert main(["dataset", "canaries", train, "-o", target]) == 2
    assert "makes up no items; name a file of canaries with --from" in capsys.readouterr().err
    assert main(["dataset", "canaries", train, "-o", target, "-n", "5", "--from", others]) == 0
    domain = registry.get("domain", "molecules")()
    found = canaries.Canaries.load(f"{target}.canaries.json", domain, "molecules")
    assert [*found.planted, *found.controls] == items[10:]
    assert "15 that were not planted" in capsys.readouterr().err


def test_a_near_copy_is_one_within_the_distance_asked_for(tmp_path):
    from molgen_datasets.audit import Settings, audit

    files = [written(tmp_path, "molecules", part, str(n)) for n, part in enumerate(NEAR)]
    found = audit(*files, domain="molecules", settings=Settings(near=0.0, metrics=None, use=False))
    one = found.figure("closeness", "near copies of training items")
    assert (one.estimate.value, one.control) == (0.5, 0.0)
    assert one.estimate.note.startswith("within 0;")
    assert SimpleNamespace(**found.about["sets"]["synthetic"]).rows == 2


#: Drawn, learned from, held out.
NEAR = (["CCO", "CCCCN"], ["CCO", "c1ccccc1"], ["CCF", "CCCl"])


def test_copies_are_counted_over_whole_sets_and_compared_in_samples(tmp_path):
    from molgen_datasets.audit import Settings, audit

    items = made_up("molecules", 24)
    train, drawn, holdout = (
        written(tmp_path, "molecules", part, name)
        for name, part in (("train", items[:12]), ("drawn", items[4:12] + items[:4]), ("holdout", items[12:]))
    )
    how = Settings(most=6, metrics=None, use=False)
    found = audit(drawn, train, holdout, domain="molecules", settings=how)
    assert found.figure("closeness", "exact copies of training items").estimate.value == 1.0
    assert found.about["sets"]["train"]["compared"] == 6
    assert "of 12 distinct ones" in found.figure("closeness", "exact copies of training items").estimate.note

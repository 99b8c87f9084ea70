"""Domains of third parties get every family, from files of their own to such files, and keep every guarantee."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from molgen import GenerativeModel, Part, registry
from molgen.backbone import default_backbone
from molgen.errors import UsageError
from molgen.testing.fixtures import missing_settings, trained_choices

PLUGINS = sorted(path.parent.name for path in Path(__file__).parent.glob("*/pyproject.toml"))
DOMAINS = ("proteins", "series", "tables", "text")
FAMILIES = [name for name in registry.names("family") if not missing_settings(registry.get("family", name))]
#: One domain for each family, and the others where there is time: .ci/run runs all.
PAIRS = [
    pytest.param(domain, family, marks=[] if number % len(DOMAINS) == place else pytest.mark.slow)
    for number, family in enumerate(FAMILIES)
    for place, domain in enumerate(DOMAINS)
]
#: Those that the plugin teaches what a torsion angle is.
OF_ANGLES = ("gan", "vae")
#: Those that leave the fields to a trained model, and so take whatever it takes.
OVER_OTHERS = ("latent",)


def tiny(kind, name):
    return Part(name, dict(getattr(registry.get(kind, name), "molgen_tiny", {})))


def small_model(domain, family, folder):
    """A small model that has learned nothing; what its family needs of a trained one lies in `folder`."""
    space = registry.get("domain", domain)().space
    cls = registry.get("family", family)
    backbone = default_backbone(space, cls.causal)
    own = tiny("family", family)
    for setting, choices in trained_choices(cls).items():
        choice = next((name for name in choices if domain != "torsions" or name in OF_ANGLES), choices[0])
        base = small_model(domain, choice, folder)
        base.fit(base.domain.examples(), steps=1, batch_size=2, validation=0).save(folder / setting)
        own = Part(family, {**own.settings, setting: str(folder / setting)})
    return GenerativeModel(tiny("domain", domain), own, tiny("backbone", backbone.name))


@pytest.mark.parametrize(("domain", "family"), PAIRS)
def test_a_family_trains_samples_and_scores(domain, family, installed, tmp_path):
    model = small_model(domain, family, tmp_path)
    own = model.domain
    file = tmp_path / "mine.csv"
    own.write(({own.column: item} for item in own.examples()), file)
    model.fit(file, steps=2, batch_size=2, validation=0)
    assert model.fit_report.items == len(own.examples())
    assert len(list(model.sample(3, seed=0))) == 3
    assert all(math.isfinite(score.log_density) for score in model.log_density(own.examples()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_takes_a_kind_of_field_that_it_was_taught_and_refuses_it_by_name_else(family, installed, tmp_path):
    if family not in (*OF_ANGLES, *OVER_OTHERS):
        with pytest.raises(UsageError, match=r"\bAngle\b"):
            small_model("torsions", family, tmp_path).build()
        return
    model = small_model("torsions", family, tmp_path)
    model.fit(model.domain.examples(), steps=2, batch_size=2, validation=0)
    assert all(-180 <= angle <= 180 for item in model.sample_items(3, seed=0) for pair in item for angle in pair)


def own_tests(folder, plugins, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *arguments]
    done = subprocess.run([*command, *plugins], cwd=folder, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_their_own_tests_pass(installed):
    own_tests(installed, PLUGINS, "-k", "not (conformance and over)")


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS)
def test_they_keep_their_guarantees_under_every_family(plugin, installed):
    own_tests(installed, [plugin], "-k", "conformance and over and (padding or per_item or samples_follow)")


def test_none_is_in_our_distribution():
    ours = {plugin.name for kind in registry.KINDS for plugin in registry.plugins(kind) if plugin.ours}
    assert ours.isdisjoint([*DOMAINS, "torsions"])


def test_a_table_is_audited_for_copies_fidelity_and_use(installed, tmp_path):
    import numpy as np

    from molgen_datasets.audit import Planting, Settings, audit, plant
    from molgen_datasets.audit.sets import open_set

    rng, own = np.random.default_rng(0), registry.get("domain", "tables")()

    def rows(count, flip=0.0):
        found = []
        for x, y, u in rng.uniform(size=(count, 3)):
            kind = ("low" if x + y < 1 else "high", "high" if x + y < 1 else "low")[int(u < flip)]
            found.append({"x": f"{x:.3f}", "y": f"{y:.3f}" if u < 0.9 else "", "kind": kind})
        return found

    def file(name, items):
        own.write([{own.column: item} for item in items], tmp_path / name)
        return str(tmp_path / name)

    train, holdout = rows(300), file("holdout.csv", rows(300))
    how = Settings(metrics=("column_fidelity",), label="kind", repeats=2)
    sets = {"like": rows(300), "noise": rows(300, flip=0.5), "copies": train[:200] + rows(100)}
    found = {
        name: audit(file(f"{name}.csv", items), file("train.csv", train), holdout, domain="tables", settings=how)
        for name, items in sets.items()
    }
    share = {name: one.figure("closeness", "closer to training than to holdout") for name, one in found.items()}
    assert [share[name].above for name in sets] == [False, False, True]
    use = {name: one.figure("use", "TSTR: balanced accuracy").estimate.value for name, one in found.items()}
    assert use["like"] > 0.85 > 0.7 > use["noise"]
    columns = found["like"].section("fidelity").tables[0]
    assert [row[0] for row in columns.rows] == ["x", "y", "kind", "y missing"]
    assert found["like"].figure("fidelity", "columns, mean").estimate.value > 0.9
    assert found["like"].figure("metrics", "column_fidelity/holdout").estimate.value > 0.9
    planted = plant(
        open_set(f"{tmp_path}/train.csv", own, "tables"), tmp_path / "more.csv", own, "tables", Planting(5, 9)
    )
    assert len(list(own.read(tmp_path / "more.csv"))) == 305
    assert len({own.key(item) for item in [*planted.planted, *planted.controls]}) == 14


def chains(rng):
    return "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), int(rng.integers(8, 30))))


def sentences(rng):
    return " ".join("".join(rng.choice(list("aeinorst"), int(rng.integers(2, 6)))) for _ in range(4))


def weather(rng):
    kelvin, pascal = rng.normal(size=(2, int(rng.integers(10, 20)))).cumsum(1)
    return {"kelvin": (280 + kelvin).tolist(), "pascal": (1e5 + 100 * pascal).tolist()}


def turns(rng):
    return tuple(map(tuple, rng.uniform(-180, 180, (int(rng.integers(5, 20)), 2)).round(2).tolist()))


MADE_UP = {"proteins": chains, "text": sentences, "series": weather, "torsions": turns}


#: The many pairs of columns of series take longer.
@pytest.mark.parametrize("domain", [pytest.param(n, marks=pytest.mark.slow if n == "series" else []) for n in MADE_UP])
def test_an_audit_tells_a_set_that_is_near_the_training_items_from_one_that_is_not(domain, installed, tmp_path):
    import numpy as np

    from molgen_datasets.audit import Settings, audit

    rng, own = np.random.default_rng(0), registry.get("domain", domain)()
    sets = {name: [MADE_UP[domain](rng) for _ in range(80)] for name in ("train", "holdout", "alike")}
    sets["recalled"] = [shortened(item) for item in sets["train"][:60]] + sets["alike"][:20]
    for name, items in sets.items():
        own.write([{own.column: item} for item in items], tmp_path / f"{name}.csv")
    real, how = [f"{tmp_path}/{name}.csv" for name in ("train", "holdout")], Settings(metrics=None, use=False)
    for name, recalls in (("alike", False), ("recalled", True)):
        found = audit(f"{tmp_path}/{name}.csv", *real, domain=domain, settings=how)
        assert found.figure("closeness", "exact copies of training items").estimate.value == 0
        assert found.figure("closeness", "closer to training than to holdout").above is recalls
        attacks = [one.estimate.value for one in found.section("membership").findings if "AUC" in one.label]
        assert attacks
        assert (max(attacks) > 0.8) is recalls


def shortened(item):
    """An item without its last place: no copy, but near one."""
    return {name: values[:-1] for name, values in item.items()} if isinstance(item, dict) else item[:-1]

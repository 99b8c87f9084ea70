"""The command `train` on tiny runs, and how settings are composed."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from shutil import copytree, rmtree

import numpy as np
import pytest
import torch
from filelock import FileLock
from omegaconf import OmegaConf
from PIL import Image

from molgen.config import Part
from molgen.data.prepare import training_data
from molgen.data.source import dataset_source
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.checkpoint import Checkpoint
from molgen.model.generative_model import GenerativeModel
from molgen_cli.main import main
from molgen_cli.settings import PRESETS, composed

GOOD = [f"{'C' * (k // 2 + 1)}{'NO'[k % 2]}" for k in range(30)]
BAD = ["C1CC", "", "CC(C)(C)(C)C", GOOD[0], "C!"]
#: The numbers in the column pIC50 of the rows that can be used.
NUMBERS = [k % 7 for k in range(len(GOOD)) if k % 4]
TINY = ["backbone.width=8", "backbone.layers=1", "backbone.embedding=4", "encoder.max_length=24"]
SHORT = ["training.steps=4", "training.batch_size=8", "training.check_every=2", "training.validation=0.1"]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "structure", "pIC50"])
        rows.writerows([f"m{k}", smiles, k % 7 if k % 4 else "n/a"] for k, smiles in enumerate([*GOOD, *BAD]))
    return str(path)


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory):
    """A finished run with conditions: one is a column, one is computed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "--data", file, "--column", "structure", *TINY, "conditions=[pIC50,mw]", *SHORT]
    assert main([*arguments, "--output", str(folder)]) == 0
    return folder


# --- composition ----------------------------------------------------------------------------------


def test_the_preset_of_the_embedded_model():
    found = composed(["+experiment=moses"])
    written = OmegaConf.load(PRESETS / "experiment" / "moses.yaml")
    assert found.model.backbone.settings.items() >= {"cell": "gru", "width": 512, "layers": 2}.items()
    assert found.model.encoder.to_json()["settings"] == {
        "max_length": 120,
        "kekule": False,
        "grammar": True,
        "merges": 256,
    }
    assert found.dataset.name == "moses"
    assert found.training.items() >= dict(written.training).items()


#: Presets over a trained model, the setting that names it, and its family.
PRESETS_OVER = {
    "qm9_energy": ("base", "autoregressive"),
    **dict.fromkeys(("qm9_latent", "qm9_graph_latent", "mnist_latent"), ("autoencoder", "vae")),
}


@pytest.mark.parametrize("preset", PRESETS_OVER)
def test_every_preset_over_a_trained_model_builds_its_model(preset):
    setting, family = PRESETS_OVER[preset]
    parts = composed([f"+experiment={preset}", f"family.{setting}=a-run"]).model
    trained = GenerativeModel(parts.encoder, family)
    trained.use(trained.build())
    model = GenerativeModel(parts.encoder, parts.family, parts.backbone, trained={setting: trained})
    assert model.build().space == model.encoder.space


@pytest.mark.parametrize(
    "words",
    [
        *(
            [f"+experiment={path.stem}"]
            for path in sorted((PRESETS / "experiment").glob("*.yaml"))
            if path.stem not in PRESETS_OVER
        ),
        ["+experiment=qm9_graph_vae", "family.decoder=one_shot"],
        ["+experiment=qm9_autoregressive", "encoder=molecules.selfies", "encoder.max_length=40"],
    ],
    ids=" ".join,
)
def test_every_preset_builds_its_model(words):
    parts = composed(words).model
    model = GenerativeModel(parts.encoder, parts.family, parts.backbone)
    assert model.build().space == model.encoder.space


def test_what_is_typed_wins_over_a_preset_and_settings_may_refer_to_each_other():
    preset = composed(["experiment=moses"]).training
    found = composed(["experiment=moses", "training.steps=5", "training.warmup=${training.steps}", "conditions=[qed]"])
    assert found.training == {**preset, "steps": 5, "warmup": 5} != preset
    assert found.model.conditions == ("qed",)


@pytest.mark.parametrize("words", [["family.weights.tokens=2"], ["family.weights={tokens: 2}"]], ids=" ".join)
def test_values_of_a_mapping_are_typed_one_by_one_or_together(words):
    assert composed(["family=diffusion", *words]).model.family.settings["weights"] == {"tokens": 2}


def test_settings_of_a_prior_are_those_of_its_family():
    words = ["family=latent", "family.prior=flow", "family.prior_settings.variant=matching"]
    settings = composed([*words, "family.prior_settings.steps=7"]).model.family.settings["prior_settings"]
    assert (settings["variant"], settings["steps"], settings["rounds"]) == ("matching", 7, 4)
    with pytest.raises(UsageError, match="family flow: no setting 'stepz'; did you mean 'steps'"):
        composed([*words, "family.prior_settings.stepz=7"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.stepz=5", "training: no setting 'stepz'; did you mean 'steps'?"),
        ("trainng.steps=5", "no setting 'trainng.steps'; did you mean 'training.steps'?"),
        ("training.steps=many", "training: steps must be int, not 'many'"),
        ("training.steps=2.5", "training: steps must be int, not 2.5"),
        ("training.steps=0", "training: steps must be at least 1"),
        ("training.steps=1,2", "a run takes one value"),
        ("+training.extra=1", "settings can be changed, not added"),
        ("~family", "settings can be changed, not added or removed"),
        ("family={a: 1}", "family takes a name"),
        ("family.bins.a=1", "no setting 'bins.a'; did you mean 'bins'?"),
        ("encoder=molecules.smile", "did you mean 'molecules.smiles'?"),
        ("experiment=mose", "no preset is named 'mose'; did you mean 'moses'?"),
        ("conditions=5", "conditions must be a list of names"),
        ("steps", "is no setting"),
        ("backbone.cell=tru", "no recurrent cell 'tru'"),
        ("training.warmup=${nothing}", "'nothing' not found"),
        ("hydra.run.dir=elsewhere", "no setting 'hydra.run.dir'"),
        ("hydra/launcher=basic", "no setting 'hydra/launcher'"),
    ],
)
def test_a_wrong_setting_is_one_line(setting, message):
    with pytest.raises(UsageError) as caught:
        composed([setting])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["encoder._target_=os.system", "_target_=os.system", "+family._target_=x.y"])
def test_no_configuration_names_code(setting):
    with pytest.raises(UsageError):
        composed([setting])


@pytest.mark.parametrize("value", ["${oc.env:SECRET}", "x${oc.decode:${oc.env:SECRET}}", "[${oc.env:SECRET,a}]"])
def test_nothing_comes_from_the_environment(value, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", "hunter2")
    for key in ("backbone.cell", "conditions", "encoder", "+experiment"):
        assert main(["train", f"{key}={value}", "--show-config"]) == 2
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err
    assert "never taken from the environment" in printed.err


def test_settings_and_options_may_alternate(capsys):
    assert main(["train", "training.steps=7", "--show-config", "backbone.width=9", "--quiet", "dataset=qm9"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert (shown.training.steps, shown.backbone.settings.width, shown.dataset.name) == (7, 9, "qm9")


def test_the_parts_of_a_model_stay_when_it_is_tuned(model, capsys):
    for setting in ("family=autoregressive", "backbone.width=9", "conditions=[qed]", "+experiment=moses"):
        assert main(["train", "--from", model, "--data", "x.csv", setting]) == 2
    assert capsys.readouterr().err.count("\n") == 4
    assert main(["train", "--from", model, "--show-config", "training.patience=2"]) == 0
    shown = OmegaConf.create(capsys.readouterr().out)
    assert (shown.preset, shown.training.patience, shown.training.validation) == ("finetune", 2, 0.1)


def test_a_model_goes_on_with_other_settings_of_its_encoder(model, tmp_path):
    path = tmp_path / "rings.csv"
    path.write_text("smiles\n" + "".join(f"c1ccccc1{'C' * k}\n" for k in range(12)))
    folder = tmp_path / "kekule"
    settings = ["training.steps=2", "encoder.kekule=true"]
    assert main(["train", "--from", model, "--data", str(path), *settings, "--output", str(folder)]) == 0
    tuned = GenerativeModel.load(folder)
    assert tuned.encoder.decode(tuned.encoder.encode("c1ccccc1")) == "C1=CC=CC=C1"
    assert main(["train", "--from", model, "--data", str(path), "encoder.max_length=9", "-o", str(tmp_path / "x")]) == 2


def test_a_setting_by_its_former_name_is_read_with_a_notice(capsys):
    assert composed(["training.shards=3"]).training["gradient_shards"] == 3
    assert capsys.readouterr().err == "molgen: training.shards is called training.gradient_shards now\n"


# --- requests that cannot be met ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing says what to learn from"),
        (["--data", "{file}", "dataset=moses"], "type one of them"),
        (["--column", "structure"], "--column is for a file"),
        (["--data", "missing.csv"], "there is no such file"),
        (["--data", "{file}", "--column", "nowhere"], "nowhere"),
        (["--data", "{file}", "--column", "structure", "conditions=[pIC5]"], "neither a column of mine"),
        (["--data", "{file}", "--column", "structure", "--device", "abacus"], "no device is named 'abacus'"),
        (["--data", "{file}", "--column", "structure", "--device", "meta"], "there is no device meta here"),
        (["--data", "{file}", "--column", "structure", "training.clip=nan"], "clip must be at least"),
        (["--data", "{file}", "training.learning_rate=1e30"], "learning_rate must be from 0 to 10, not 1e+30"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(arguments, message, file, tmp_path, capsys):
    arguments = [argument.format(file=file) for argument in arguments]
    assert main(["train", *arguments, *TINY, "--output", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_output_that_exists_is_not_touched(finished, file, tmp_path, capsys):
    before = (finished / "model" / "manifest.json").read_bytes()
    assert main(["train", "--data", file, "--column", "structure", *TINY, "--output", str(finished)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert (finished / "model" / "manifest.json").read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    assert main(["train", "--from", str(finished), "--data", file, "--output", str(finished), "--overwrite"]) == 2
    assert (finished / "model" / "manifest.json").read_bytes() == before
    arguments = ["train", "--data", file, "--column", "structure", "--output", str(tmp_path / "letters")]
    assert main([*arguments, "--overwrite"]) == 2
    assert (tmp_path / "letters" / "dear.txt").exists()


@pytest.mark.parametrize("how", ["--resume", "--overwrite"])
@pytest.mark.parametrize(
    "content",
    [
        {"config.yaml": "mine: 1", "model/thesis.tex": "chapter one", "store/letter.txt": "dear"},
        {"train.run.json": "not JSON", "metrics.jsonl": "mine"},
        {"train.run.json": '{"command": "make paper"}', "model/a": "b"},
        {"molgen-run.json": "[]", "model/a": "b"},
    ],
)
def test_a_folder_that_only_looks_like_a_run_is_left_alone(how, content, file, tmp_path, capsys):
    folder = tmp_path / "proj"
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, "--output", str(folder), how]
    assert main(arguments) == 2
    assert "holds other files and no training run" in capsys.readouterr().err
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()} == content


@pytest.mark.parametrize(
    ("settings", "follows"),
    [
        (["family=vae"], True),
        (["encoder.max_length=24", "training.steps=2"], True),
        (["backbone=recurrent"], False),
        (["backbone.width=8"], False),
        (["+experiment=moses"], False),
    ],
)
def test_the_network_follows_from_the_samples_unless_it_is_asked_for(settings, follows):
    assert composed(settings).default_network == follows


def test_the_default_network_is_chosen_once_the_sizes_of_samples_are_known(file, tmp_path, capsys, monkeypatch):
    def default(self, family):
        return Part("recurrent", {"width": 8 if self.encoder._largest else 16, "layers": 1, "embedding": 4})

    monkeypatch.setattr(GenerativeModel, "_default_backbone", default)
    run = str(tmp_path / "run")
    arguments = ["train", "--data", file, "--column", "structure", "encoder=molecules.graph", "--output", run]
    assert main([*arguments, "training.steps=1", "training.batch_size=4"]) == 0
    assert "the network for samples of this size is recurrent" in capsys.readouterr().err
    assert GenerativeModel.load(run).config.backbone.settings["width"] == 8
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").backbone.settings.width == 8


def test_a_configuration_that_a_run_wrote_makes_the_same_run(finished, file, tmp_path, capsys):
    configuration = str(finished / "config.yaml")
    assert main(["train", "--config", configuration, "--show-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out) == OmegaConf.load(configuration)
    changed = ["training.steps=7", "backbone.width=16", "conditions=[mw]"]
    assert main(["train", "--config", configuration, *changed, "--show-config"]) == 0
    found = OmegaConf.create(capsys.readouterr().out)
    assert (found.training.steps, found.backbone.settings.width, found.backbone.settings.layers) == (7, 16, 1)
    assert found.conditions == ["mw"]
    assert main(["train", "--config", configuration, "backbone=transformer", "--show-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).backbone.name == "transformer"
    for path, message in ((file, "is no configuration of a run"), ("missing.yaml", "cannot be read")):
        assert main(["train", "--config", path]) == 2
        assert message in capsys.readouterr().err


def test_a_preset_serves_the_users_own_data(file, capsys):
    arguments = ["train", "--data", file, "+experiment=qm9_graph_diffusion", "--show-config"]
    assert main(arguments) == 0
    found = OmegaConf.create(capsys.readouterr().out)
    assert (found.dataset, found.encoder.name, found.training.steps) == (None, "molecules.graph", 24000)
    assert main([*arguments, "dataset=qm9"]) == 2
    assert "type one of them" in capsys.readouterr().err


def test_pictures_are_known_by_what_they_are(tmp_path, capsys):
    picture = np.zeros((6, 5, 3), np.uint8)
    for number in range(3):
        Image.fromarray(picture + number).save(tmp_path / f"{number}.png")
    assert main(["train", "--data", str(tmp_path), "--show-config", "encoder.levels=16"]) == 0
    settings = OmegaConf.create(capsys.readouterr().out).encoder
    assert settings.name == "images.pixels"
    assert [settings.settings[name] for name in ("height", "width", "channels", "levels")] == [6, 5, 3, 16]
    assert main(["train", "--data", str(tmp_path), "--show-config", "encoder.height=28"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).encoder.settings.height == 28
    assert main(["evaluate", str(tmp_path), "--metrics", "validity", "-q"]) == 0
    assert "valid rows" in capsys.readouterr().out
    assert main(["train", "dataset=mnist", "--show-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).encoder.name == "images.pixels"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("conditions=[IC50 (nM)]", ["IC50 (nM)"]),
        ("conditions=[IC50 (nM), logD, pH=7.4]", ["IC50 (nM)", "logD", "pH=7.4"]),
        ("conditions=['a,b',c's]", ["a,b", "c's"]),
        ("conditions=[a\\]", ["a\\"]),
        ("conditions=[]", []),
    ],
)
def test_a_condition_may_have_any_name_of_a_column(typed, names):
    assert list(composed([typed]).model.conditions) == names


# --- runs -----------------------------------------------------------------------------------------


def test_two_runs_never_share_a_folder(file, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, "--output", str(folder)]
    with FileLock(folder / ".lock"):
        assert main(arguments) == 2
    assert f"another run is writing to {folder}" in capsys.readouterr().err
    (folder / ".model.1-abc.tmp").mkdir()
    assert main([*arguments, "--overwrite"]) == 2  # nothing in it says that it is a run
    (folder / ".model.1-abc.tmp").rmdir()
    assert main(arguments) == 0
    (folder / ".model.1-abc.tmp").mkdir()
    assert main([*arguments, "--resume"]) == 0
    assert not (folder / ".model.1-abc.tmp").exists()


def test_a_run_leaves_a_model_and_its_records(finished):
    rejected = list(csv.DictReader((finished / "rejected.csv").open(newline="")))
    assert [(row["row"], row["text"]) for row in rejected] == [
        (str(len(GOOD) + 1 + k), text) for k, text in enumerate(BAD)
    ]
    assert rejected[3]["reason"] == "equal to an earlier row"
    assert all(row["reason"] for row in rejected)
    record = json.loads((finished / "train.run.json").read_text())
    assert record["complete"]
    assert record["step"] == 4
    assert record["data"]["rejected"] == 5
    assert record["versions"]["torch"]
    assert OmegaConf.load(finished / "config.yaml").training.steps == 4
    assert [json.loads(line)["step"] for line in (finished / "metrics.jsonl").read_text().splitlines()] == [2, 4]


def test_a_model_of_conditions_generates_what_is_asked(finished):
    model = GenerativeModel.load(finished)
    assert model.conditions.names == ("pIC50", "mw")
    assert model.conditions.means[0] == pytest.approx(sum(NUMBERS) / len(NUMBERS))
    asked = list(model.sample(4, condition={"pIC50": 6.0, "mw": 100.0}))
    assert [draw.log_density for draw in asked] != [draw.log_density for draw in model.sample(4)]
    assert not model.is_novel("CCN")
    assert model.is_novel("c1ccccc1")


def test_text_is_taken_for_classes_and_numbers_when_told_so(tmp_path, capsys):
    path = tmp_path / "assays.csv"
    path.write_text(
        "smiles,target,plate\n" + "".join(f"C{'C' * k},{'ab'[k % 2]},{k % 3}\n" for k in range(11)) + "O,,\n"
    )
    folder = str(tmp_path / "run")
    arguments = ["train", "--data", str(path), *TINY, *SHORT, "conditions=[target,plate:class]", "--output", folder]
    assert main(arguments) == 0
    conditions = GenerativeModel.load(folder).conditions
    assert conditions.classes == {"target": ("a", "b"), "plate": ("0", "1", "2")}
    output = str(tmp_path / "b.csv")
    assert main(["generate", "--model", folder, "-n", "2", "--condition", "plate=2", "-o", output]) == 0
    capsys.readouterr()
    assert main(["generate", "--model", folder, "-n", "2", "--condition", "target=c"]) == 2
    assert "the condition target has no class 'c'; it has a, b" in capsys.readouterr().err
    tuned = ["train", "--from", folder, "--data", str(path), "training.steps=2", "--output", str(tmp_path / "tuned")]
    assert main(tuned) == 0


def test_a_model_without_conditions_gains_them_when_it_is_tuned(file, model, tmp_path, capsys):
    tune = ["train", "--from", model, "--data", file, "--column", "structure", *SHORT]
    folder = tmp_path / "tuned"
    assert main([*tune, "conditions=[pIC50]", "--output", str(folder)]) == 0
    assert GenerativeModel.load(folder).conditions.names == ("pIC50",)
    again = ["train", "--from", str(folder), "--data", file, "--column", "structure", *SHORT, "conditions=[mw]"]
    assert main([*again, "--output", str(tmp_path / "again")]) == 0
    tuned = GenerativeModel.load(tmp_path / "again")
    assert tuned.conditions.names == tuned.config.conditions == ("pIC50", "mw")
    assert len(list(tuned.sample(2, condition={"pIC50": 6.0, "mw": 100.0}))) == 2
    capsys.readouterr()
    assert main([*tune, "conditions=[nowhere]", "--output", str(tmp_path / "none")]) == 2
    assert "is neither a column of mine" in capsys.readouterr().err


def test_what_was_asked_for_stands_beside_what_came(finished, tmp_path, capsys):
    folder, output = finished, tmp_path / "out.csv"
    asked = ["--condition", "mw=100", "--condition", "pIC50=6"]
    arguments = ["-n", "300", "--seed", "0", "--properties", "none", "-o", str(output)]
    assert main(["generate", "--model", str(folder), *asked, *arguments]) == 0
    with output.open() as file:
        weights = [float(row["mw"]) for row in csv.DictReader(file) if row["mw"]]
    obtained = json.loads((tmp_path / "out.csv.run.json").read_text())["obtained"]
    with output.open() as file:
        assert {(row["condition_mw"], row["condition_pIC50"]) for row in csv.DictReader(file)} == {("100", "6")}
    assert list(obtained) == ["mw"]
    assert obtained["mw"]["asked"] == 100
    assert obtained["mw"]["rows"] == len(weights) > 0
    assert obtained["mw"]["mean"] == pytest.approx(sum(weights) / len(weights), rel=1e-5)
    off = [abs(weight - 100) for weight in weights]
    assert obtained["mw"]["mean absolute difference"] == pytest.approx(sum(off) / len(off), rel=1e-4)
    assert "mw: asked for 100, obtained" in capsys.readouterr().err
    assert main(["models", "info", str(folder)]) == 0
    assert "conditions  pIC50 (0 to 6), mw (" in capsys.readouterr().out
    assert main(["generate", "--model", str(folder), "-n", "1", "--condition", "mw=9999", "-q"]) == 0
    assert "molgen: the condition mw=9999 is outside of what" in capsys.readouterr().err


def test_a_private_run_says_how_private_the_model_is(file, tmp_path, capsys):
    private = ["training.privacy.epsilon=20", "training.privacy.accountant=rdp", "training.batch_size=2"]
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, *private]
    assert main([*arguments, "--output", str(tmp_path / "run")]) == 0
    found, printed = GenerativeModel.load(tmp_path / "run").info["privacy"], capsys.readouterr().err
    assert 0 < found["epsilon"] <= 20
    assert f"differential privacy of the weights: epsilon {found['epsilon']:g} at delta" in printed
    assert "carry no keys" in printed
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").training.privacy == {"epsilon": 20, "accountant": "rdp"}
    assert main([*arguments, "--output", str(tmp_path / "no"), "training.privacy.epsilom=1"]) == 2
    assert "did you mean 'epsilon'" in capsys.readouterr().err
    refused = ["family=energy", "family.variant=contrastive", "backbone=transformer", "training.privacy.epsilon=1"]
    assert main(["train", "--data", file, *refused, "--output", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err.startswith("molgen: training.privacy is not for Energy")
    assert not (tmp_path / "no").exists()


def test_a_column_of_free_text_is_no_condition(tmp_path, capsys):
    path = tmp_path / "notes.csv"
    path.write_text("smiles,note\n" + "".join(f"{'C' * (1 + k % 9)},note {k}\n" for k in range(1001)))
    assert main(["train", "--data", str(path), *TINY, "conditions=[note]", "--output", str(tmp_path / "run")]) == 2
    assert "'note' has 1,001 different values in 1,001 rows: that is a name or an id" in capsys.readouterr().err


def test_tuning_learns_new_tokens_and_keeps_what_the_base_has_seen(model, tmp_path, capsys):
    path = tmp_path / "actives.csv"
    path.write_text("smiles\n" + "".join(f"{'C' * (1 + k)}[102RuH]\n" for k in range(12)))
    folder = tmp_path / "tuned"
    assert main(["train", "--from", model, "--data", str(path), "training.steps=5", "--output", str(folder)]) == 0
    printed = capsys.readouterr().err
    assert f"molgen generate --model {folder}" in printed
    tuned = GenerativeModel.load(folder)
    assert not isinstance(tuned.encoder.encode("C[102RuH]"), Invalid)
    assert set(tuned.keys) == {"learned", "actives"}
    assert not tuned.is_novel("CCO")
    assert "trained on eight strings, licence: CC0" in tuned.info["data"]["tuned from"]
    assert "title" not in tuned.info


def test_tuning_on_the_same_items_again_adds_no_second_set_of_keys(finished, file, tmp_path):
    folder = tmp_path / "again"
    arguments = ["train", "--from", str(finished), "--data", file, "--column", "structure", "training.steps=2"]
    assert main([*arguments, "--output", str(folder)]) == 0
    again = GenerativeModel.load(folder)
    assert set(again.keys) == set(GenerativeModel.load(finished).keys)
    assert again.info["training"]["before"].startswith("steps: 4; items seen: 32; held-out loss (nats): ")
    assert again.info["data"]["name"] == GenerativeModel.load(finished).info["data"]["name"]


def test_a_loss_that_is_not_finite_stops_with_the_last_state_intact(file, tmp_path, capsys):
    arguments = ["train", "--data", file, "--column", "structure", *TINY, "--output", str(tmp_path / "run")]
    # Each step makes the weights 99 times as large.
    settings = ["training.learning_rate=10", "training.weight_decay=10", "training.warmup=0", "training.save_every=1"]
    assert main([*arguments, *settings]) == 1
    assert re.search(
        r"the (loss|gradient) is (nan|inf) at step \d+|the weight .* is not finite after step \d+",
        capsys.readouterr().err,
    )
    state = Checkpoint(tmp_path / "run" / "resume")
    assert state.config["info"]["resume"]["state"]["step"] >= 1
    assert all(torch.isfinite(t).all() for name, t in state.tensors("training").items() if name.startswith("weights"))
    assert not json.loads((tmp_path / "run" / "train.run.json").read_text())["complete"]


def test_a_run_that_was_not_finished_generates_from_its_last_averaged_weights(finished, tmp_path, capsys):
    copytree(finished, tmp_path / "run")
    rmtree(tmp_path / "run" / "model")
    arguments = ["generate", "--model", str(tmp_path / "run"), "-n", "1", "-q"]
    assert main([*arguments, "-o", str(tmp_path / "x.csv")]) == 0
    said = f"molgen: {tmp_path / 'run'}: the run is not finished; these are its averaged weights after step 4\n"
    assert capsys.readouterr().err == said


TINY_SET = """
from molgen.dataset import Dataset
from molgen.domain import Record

class Tiny(Dataset):
    domain = "molecules"
    splits = {"train": 3}
    licence = "CC0"
    canonical = CANONICAL

    def fetch(self, progress=None, split=None):
        raise NotImplementedError

    def digest(self, split):
        return "tiny"

    def items(self, split):
        return iter(["OCC", "CCO", "CCN"])

    def columns(self, split):
        return {"charm": "in units of its own"}

    def records(self, split):
        return (Record(k, item, {"charm": str(k)}) for k, item in enumerate(self.items(split)))
"""


@pytest.mark.parametrize("canonical", [True, False])
def test_a_data_set_is_used_as_stored_or_in_canonical_form(canonical, fake_distribution, tmp_path, monkeypatch):
    source_code = TINY_SET.replace("CANONICAL", str(canonical))
    fake_distribution("molgen-tiny", "1.0", {"dataset": {"tiny": "tiny_set:Tiny"}}, {"tiny_set": source_code})
    source = dataset_source(Part("tiny"), "molecules")
    domain = GenerativeModel("molecules.smiles").domain
    data = training_data(source, domain, ["charm", "mw"], ["mw"], tmp_path, lambda count: None)
    rows = list(data.rows())
    if canonical:
        assert [item for item, _ in rows] == ["OCC", "CCO", "CCN"]
    else:
        assert [item for item, _ in rows] == ["CCO", Invalid("equal to an earlier row"), "CCN"]
    assert rows[2][1] == {"charm": 2.0, "mw": pytest.approx(45.08, abs=0.01)}
    assert len(data.keys) == 2
    assert "CCO" in data.keys
    assert data.card["licence"] == "CC0"
    # What was found about items as stored is found again without computing it.
    if canonical:
        monkeypatch.setattr("molgen.data.prepare.Inspector", None)
    again = training_data(source, domain, ["charm", "mw"], ["mw"], tmp_path, lambda count: None)
    assert (again.digest, list(again.rows())) == (data.digest, rows)


def test_killed_and_terminated_runs_end_as_if_nothing_had_happened(file, tmp_path, capsys):
    settings = ["training.steps=120", "training.batch_size=8", "training.save_every=7", "training.log_every=1"]
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *settings, "backbone.dropout=0.1"]
    folder = tmp_path / "run"
    for number, code, message in ((signal.SIGTERM, 143, "--resume"), (signal.SIGKILL, -9, "")):
        process = start([*arguments, "--output", str(folder), "--resume"])
        wait_for_more_steps(folder / "metrics.jsonl", process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert message in errors
    assert main([*arguments, "--output", str(folder), "--resume", "--quiet"]) == 0
    assert main([*arguments, "--output", str(tmp_path / "whole"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    first, second = (Checkpoint(path).tensors() for path in (folder, tmp_path / "whole"))
    assert all(torch.equal(first[name], second[name]) for name in second)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert sorted(set(steps)) == list(range(1, 121))


def start(arguments):
    command = [sys.executable, "-m", "molgen_cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def wait_for_more_steps(path, process):
    before = path.read_text().count("\n") if path.exists() else 0
    deadline = time.monotonic() + 100
    while (path.read_text().count("\n") if path.exists() else 0) < before + 15:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)

"""How the settings of `molgen train` are composed: presets, what is typed, what follows from the data."""

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from molgen.config import Part
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen_cli import domains
from molgen_cli.main import main
from molgen_cli.settings import PRESETS, composed


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
    **dict.fromkeys(
        (
            *("qm9_latent", "qm9_latent_gan", "qm9_graph_latent", "qm9_graph_latent_gan"),
            *("mnist_latent", "mnist_latent_gan", "fsdd_latent"),
        ),
        ("autoencoder", "vae"),
    ),
    "qm9_geometry_latent": ("autoencoder", Part("vae", {"decoder": "points"})),
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
        ("steps", "'steps' is no setting (it has no '='); settings look like training.steps=1000"),
        ("library.csv", "'library.csv' is no setting (it has no '=', and no file is named so)"),
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


def test_a_file_among_the_settings_is_told_its_option(tmp_path):
    (file := tmp_path / "library.csv").write_text("smiles\nCCO\n")
    with pytest.raises(UsageError, match="it is a file, --data takes it"):
        composed([str(file)])


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


def test_a_setting_by_its_former_name_is_read_with_a_notice(capsys):
    assert composed(["training.shards=3"]).training["gradient_shards"] == 3
    assert capsys.readouterr().err == "molgen: training.shards is called training.gradient_shards now\n"


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


def test_of_large_pictures_few_are_looked_at(tmp_path, monkeypatch, capsys):
    for number, width in enumerate([5, 5, 9]):
        Image.fromarray(np.full((6, width, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(domains, "LOOKED_AT_BYTES", 6 * 5 * 3)
    assert main(["train", "--data", str(tmp_path), "--show-config"]) == 0
    assert OmegaConf.create(capsys.readouterr().out).encoder.settings.width == 5


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

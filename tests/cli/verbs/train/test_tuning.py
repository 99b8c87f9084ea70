"""Models that go on learning from other data: `molgen train --from`."""

from omegaconf import OmegaConf
from support.train_runs import SHORT

from molgen.domain import Invalid
from molgen.model.generative_model import GenerativeModel
from molgen_cli.main import main


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

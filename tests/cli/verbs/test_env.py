"""The report of versions and devices."""

import json

from molgen_cli.main import main
from molgen_cli.verbs import env


def test_the_report_is_json_and_names_versions_and_devices(capsys):
    assert main(["env", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["molgen"] == "0.1.0"
    assert found["packages"]["torch"].startswith("2.")
    assert found["devices"][0] == "cpu"
    assert found["usable_cpus"] >= 1


def test_the_table_has_a_line_for_each_version(capsys):
    assert main(["env"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"molgen", "python", "torch", "rdkit", "numpy", "devices"} <= {line.split()[0] for line in lines}


def test_only_our_own_distribution_is_no_namesake():
    assert env.namesakes() == []


def test_another_distribution_called_molgen_is_reported_with_what_to_do(fake_distribution, capsys):
    fake_distribution("molgen", "0.2.0")
    assert env.namesakes() == ["molgen 0.2.0"]
    assert main(["env", "--format", "json"]) == 0
    printed = capsys.readouterr()
    [problem] = json.loads(printed.out)["problems"]
    assert "another package, molgen 0.2.0, has the import name 'molgen' too" in problem
    assert "type: pip uninstall molgen, then: pip install --force-reinstall --no-deps molgen-toolkit" in problem
    assert problem in printed.err


def test_a_torch_that_cannot_be_imported_is_part_of_the_report(fake_distribution, molgen_command):
    fake_distribution("broken-torch", modules={"torch": "raise OSError('libtorch is missing')"})
    found = json.loads(molgen_command("env", "--format", "json").stdout)
    assert found["devices"] == ["torch cannot be imported: libtorch is missing"]

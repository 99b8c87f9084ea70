"""Plugins by name: ours, a third party's, and everything that can be wrong with those."""

import sys
from importlib.metadata import version

import pytest

from molgen import registry
from molgen.domain import API_VERSION
from molgen.errors import PluginError, UsageError

GOOD = "class Spectra:\n    molgen_api = 1\n"


def message(kind, name):
    with pytest.raises(PluginError) as caught:
        registry.get(kind, name)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_our_own_parts_are_listed_without_importing_them(molgen_command):
    assert "autoregressive" in registry.names("family")
    assert "recurrent" in registry.names("backbone")
    assert "molecules.smiles" in registry.names("encoder")
    assert registry.find("domain", "molecules").origin == f"molgen-toolkit {version('molgen-toolkit')}"
    done = molgen_command("plugins", "list")
    assert done.returncode == 0
    assert "molecules.smiles" in done.stdout


def test_every_target_of_ours_is_a_module_and_a_class():
    for kind in registry.KINDS:
        for plugin in registry.plugins(kind):
            if plugin.ours:
                assert plugin.target.count(":") == 1
                assert registry.note(plugin) == ""


def test_a_third_partys_plugin_is_found_by_name_and_imported_on_demand(fake_distribution):
    fake_distribution("molgen-spectra", "0.2", {"domain": {"spectra": "spectra_x:Spectra"}}, {"spectra_x": GOOD})
    assert "spectra" in registry.names("domain")
    assert registry.find("domain", "spectra").origin == "molgen-spectra 0.2"
    assert "spectra_x" not in sys.modules
    loaded = registry.get("domain", "spectra")
    assert loaded.__name__ == "Spectra"
    assert registry.get("domain", "spectra") is loaded
    assert registry.get("domain", "molgen-spectra:spectra") is loaded


def test_a_missing_dependency_says_what_to_install(fake_distribution):
    source = "import soundfile_x\n"
    fake_distribution("molgen-audio", "0.3", {"domain": {"recordings": "audio_x:Audio"}}, {"audio_x": source})
    text = message("domain", "recordings")
    assert "domain 'recordings' (from molgen-audio 0.3) needs the package 'soundfile_x'" in text
    assert text.endswith("type: pip install soundfile_x")


@pytest.mark.parametrize(
    ("target", "requires"),
    [
        ("audio_x:Audio [io]", ()),
        ("audio_x:Audio", ('soundfile-x>=2; python_version > "3" and extra == "io"', 'other; extra == "rest"')),
    ],
)
def test_a_missing_dependency_names_the_extra_that_brings_it(fake_distribution, target, requires):
    modules = {"audio_x": "import soundfile_x\n"}
    fake_distribution("molgen-audio", "0.3", {"domain": {"recordings": target}}, modules, requires)
    assert message("domain", "recordings").endswith("type: pip install 'molgen-audio[io]'")


def test_a_plugins_own_missing_module_is_not_taken_for_a_dependency(fake_distribution):
    plugins = {"domain": {"gone": "gone_x:Gone", "half": "half_x:Half", "dotted": "dotted_x:Dotted"}}
    modules = {"half_x": "import half_x.parts\n", "dotted_x": "import json.nowhere\n"}
    fake_distribution("molgen-gone", "0.1", plugins, modules)
    for name in ("gone", "half", "dotted"):
        text = message("domain", name)
        assert "cannot be imported (No module named" in text
        assert text.endswith("type: pip install --upgrade molgen-gone")


def test_a_clash_names_both_distributions_and_how_to_choose(fake_distribution):
    fake_distribution("molgen-images", "0.2", {"domain": {"pictures": "pixels_x:Spectra"}}, {"pixels_x": GOOD})
    fake_distribution("molgen-pixels", "1.0", {"domain": {"pictures": "nowhere_x:Pixels"}})
    text = message("domain", "pictures")
    assert "molgen-images 0.2 (pixels_x:Spectra) and molgen-pixels 1.0 (nowhere_x:Pixels)" in text
    assert "molgen-images:pictures" in text
    assert "pip uninstall molgen-pixels" in text
    assert registry.get("domain", "molgen-images:pictures").__name__ == "Spectra"
    notes = [registry.note(plugin) for plugin in registry.plugins("domain") if plugin.name == "pictures"]
    assert [note.split(";")[0] for note in notes] == [
        "clashes with molgen-pixels 1.0",
        "clashes with molgen-images 0.2",
    ]


@pytest.mark.parametrize(("kind", "name"), [("family", "autoregressive"), ("domain", "molecules")])
def test_a_third_party_cannot_take_a_name_of_ours(fake_distribution, kind, name):
    fake_distribution("molgen-other", "1.0", {kind: {name: "other_x:Spectra"}}, {"other_x": GOOD})
    assert registry.find(kind, name).ours
    [refused] = [plugin for plugin in registry.plugins(kind) if plugin.distribution == "molgen-other"]
    assert registry.note(refused).startswith("refused: molgen-toolkit holds this name")
    assert registry.get(kind, f"molgen-other:{name}").__name__ == "Spectra"


@pytest.mark.parametrize(
    ("line", "says", "repair"),
    [
        ("molgen_api = 0", "written for plugin API 0, and this molgen speaks", "pip install --upgrade molgen-old "),
        ("pass", "written without saying for which plugin API", "pip install --upgrade molgen-old "),
        (f"molgen_api = {API_VERSION + 1}", "speaks", "pip install --upgrade molgen-toolkit"),
    ],
)
def test_another_api_says_what_to_upgrade(fake_distribution, line, says, repair):
    modules = {"old_x": f"class Old:\n    {line}\n"}
    fake_distribution("molgen-old", "0.1", {"domain": {"proteins": "old_x:Old"}}, modules)
    text = message("domain", "proteins")
    assert "domain 'proteins' (from molgen-old 0.1)" in text
    assert says in text
    assert repair in text


def test_a_typo_gets_a_suggestion_and_the_known_names():
    text = message("family", "autoregresive")
    assert "did you mean 'autoregressive'?" in text
    assert "Known: autoregressive" in text
    assert "did you mean 'molecules.smiles'?" in message("encoder", "SMILES")
    assert "did you mean" not in message("dataset", "xyzzy")


@pytest.mark.parametrize("name", ["os:system", "subprocess.run", "molgen.families.autoregressive:Autoregressive", ""])
def test_a_name_never_makes_us_import_a_module(name):
    assert "no family is named" in message("family", name)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("raise SystemExit(5)", "SystemExit: 5"),
        ("raise RuntimeError('x' * 5000)", "xxx...)"),
        ("def (:", "SyntaxError"),
        ("Typo = 3", "AttributeError: module 'broken_x' has no attribute 'Broken'"),
        ("Broken = 3", "broken_x:Broken is not a class"),
        ("from json import nothing", "ImportError"),
    ],
)
def test_a_broken_plugin_says_why_in_one_line(fake_distribution, source, says):
    fake_distribution("molgen-broken", "0.1", {"domain": {"broken": "broken_x:Broken"}}, {"broken_x": source})
    text = message("domain", "broken")
    assert text.startswith("domain 'broken' (from molgen-broken 0.1) cannot be imported (")
    assert says in text
    assert text.endswith("type: pip install --upgrade molgen-broken")


@pytest.mark.parametrize("target", ["", "broken_x", ":Broken", ".relative:Broken", "broken_x:", "a b:c d"])
def test_a_malformed_target_is_a_broken_plugin(fake_distribution, target):
    fake_distribution("molgen-broken", "0.1", {"domain": {"broken": target}}, {"broken_x": GOOD})
    assert "broken" in registry.names("domain")
    assert "pip install --upgrade molgen-broken" in message("domain", "broken")


def test_interrupting_an_import_interrupts(fake_distribution):
    modules = {"slow_x": "raise KeyboardInterrupt"}
    fake_distribution("molgen-slow", "0.1", {"domain": {"slow": "slow_x:Slow"}}, modules)
    with pytest.raises(KeyboardInterrupt):
        registry.get("domain", "slow")


def test_broken_plugins_break_neither_help_nor_listing_nor_others(fake_distribution, molgen_command):
    plugins = {"domain": {"broken": "broken_x:Broken", "missing": "nowhere_x:Missing"}}
    fake_distribution("molgen-broken", "0.1", plugins, {"broken_x": "raise SystemExit(5)"})
    fake_distribution("molgen-spectra", "0.2", {"domain": {"spectra": "spectra_x:Spectra"}}, {"spectra_x": GOOD})
    assert registry.get("domain", "spectra").__name__ == "Spectra"
    assert molgen_command("--help").returncode == 0
    listed = molgen_command("plugins", "list")
    assert listed.returncode == 0
    for name in ("broken", "missing", "spectra", "molecules"):
        assert name in listed.stdout


@pytest.mark.parametrize("damage", ["no equals sign here", "[unclosed\n= nothing"])
def test_unreadable_metadata_of_one_distribution_does_not_hide_the_others(fake_distribution, damage):
    fake_distribution("molgen-spectra", "0.2", {"domain": {"spectra": "spectra_x:Spectra"}}, {"spectra_x": GOOD})
    info = fake_distribution("molgen-damaged", "0.1")
    (info / "entry_points.txt").write_text(f"[molgen.domain]\n{damage}\n")
    registry.refresh()
    assert {"molecules", "spectra"} <= set(registry.names("domain"))
    assert registry.get("domain", "spectra").__name__ == "Spectra"


def test_metadata_without_a_name_still_lists_the_plugin(fake_distribution):
    info = fake_distribution("molgen-nameless", "0.1", {"domain": {"nameless": "nameless_x:Nameless"}})
    (info / "METADATA").unlink()
    registry.refresh()
    assert "nameless" in registry.names("domain")
    assert "cannot be imported" in message("domain", "nameless")


@pytest.mark.usefixtures("no_plugins")
def test_the_switch_leaves_what_our_distribution_ships(fake_distribution, molgen_command):
    fake_distribution("molgen-spectra", "0.2", {"domain": {"spectra": "spectra_x:Spectra"}}, {"spectra_x": GOOD})
    assert "molecules" in registry.names("domain")
    assert "autoregressive" in registry.names("family")
    assert all(plugin.ours for kind in registry.KINDS for plugin in registry.plugins(kind))
    text = message("domain", "spectra")
    assert "(from molgen-spectra 0.2) is left out because MOLGEN_DISABLE_PLUGINS is set" in text
    listed = molgen_command("plugins", "list", "--kind", "domain")
    assert "spectra" not in listed.stdout
    assert "domain 'spectra' (from molgen-spectra 0.2)" in listed.stderr


def test_switch_of_zero_disables_nothing(fake_distribution, monkeypatch):
    monkeypatch.setenv(registry.DISABLE, "0")
    fake_distribution("molgen-spectra", "0.2", {"domain": {"spectra": "spectra_x:Spectra"}}, {"spectra_x": GOOD})
    assert "spectra" in registry.names("domain")


def test_plugin_errors_are_usage_errors():
    assert issubclass(PluginError, UsageError)


@pytest.mark.parametrize("end", ["raise BaseException('no')", "import sys; sys.exit(3)", "raise GeneratorExit"])
def test_a_plugin_that_ends_at_import_is_one_sentence_and_prints_nothing(fake_distribution, capsys, end):
    source = f"print('in the table')\n{end}\n"
    fake_distribution("molgen-odd", plugins={"domain": {"odd": "odd_domain:Odd"}}, modules={"odd_domain": source})
    with pytest.raises(PluginError, match="cannot be imported"):
        registry.get("domain", "odd")
    assert capsys.readouterr().out == ""

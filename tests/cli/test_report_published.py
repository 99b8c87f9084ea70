"""Published figures stand beside ours in the report only where they mean the same."""

import math
import re

import pytest
from support.reporting import evaluated, figure, text_of

from molgen import registry
from molgen.metric import Better, Estimate
from molgen_cli.report.published import Metric, published_groups, published_names, standing


@pytest.mark.parametrize("reference", ["moses", "guacamol", "qm9", "zinc250k"])
def test_published_figures_stand_under_our_labels(reference):
    suites = registry.get("domain", "molecules")().suites()
    labels = {label for suite in suites.values() for label in suite}
    ours = {label.replace("{}", name) for label in labels for name in ("Test", "TestSF")}
    ours |= {label.removesuffix("/{}") for label in labels}
    groups = published_groups(reference)
    assert groups
    for group in groups:
        assert group.source
        assert group.protocol
        assert {label for row in group.rows for label in row.values} <= ours
        assert all(0 <= value.value < 40 for row in group.rows for value in row.values.values())


def test_published_figures_keep_their_decimals():
    rows = {row.name: row.values for group in published_groups("moses") for row in group.rows}
    assert str(rows["CharRNN"]["FCD/Test"].value) == "0.0732"
    assert str(rows["CharRNN"]["FCD/Test"].deviation) == "0.0247"
    assert str(rows["DiGress, checkpoint"]["FCD/TestSF"].value) == "1.2800"
    assert str(rows["G2PT-base"]["Valid"].value) == "0.964"


def test_no_figure_of_a_graph_paper_stands_under_test():
    graph = published_groups("moses")[2]
    assert {label for row in graph.rows for label in row.values if "/" in label} == {
        "FCD/TestSF",
        "SNN/TestSF",
        "Scaf/TestSF",
    }


def test_published_figures_need_their_data_set():
    assert "CharRNN" in text_of([evaluated()], about={"reference": "moses"})
    for about in ({"reference": "mine.smi"}, {}):
        text = text_of([evaluated()], about=about)
        assert "CharRNN" not in text
        assert 'id="published"' not in text


def test_only_columns_that_both_have_are_shown():
    ours = evaluated(figures=[figure("Valid"), figure("My own/Test")])
    text = text_of([ours], about={"reference": "moses"})
    table = re.search('<table class="figures published-table">.*?</table>', text)[0]
    assert "CharRNN" in table
    assert "My own" not in table
    assert "FCD" not in table


def test_labels_of_one_metric_in_several_suites():
    assert set(published_names(figure("V"))) >= {"V", "Valid", "Validity"}
    assert set(published_names(figure("FCD/held out"))) == {"FCD/held out", "FCD"}
    assert published_names(figure("V.U")) == ["V.U"]


def test_validity_with_correction_stands_in_the_table_alone():
    text = text_of([evaluated(figures=[figure("V", 0.9)])], about={"reference": "qm9"})
    assert "with valency correction" in text
    assert "best 0.9985, LO-ARM" in text


def test_distances_of_two_protocols_are_in_no_chart_together():
    text = text_of([evaluated(figures=[figure("FCD/test", 2.0, better=Better.LOWER)])], about={"reference": "zinc250k"})
    assert "LO-ARM" in text
    assert "best" not in re.search('<section id="published".*?</section>', text)[0]


def test_the_training_set_is_not_the_best_model():
    text = text_of([evaluated(figures=[figure("Valid")])], about={"reference": "moses"})
    row = re.search('<tr><th scope="row">Train set.*?</tr>', text)[0]
    assert "<b>" not in row


def test_better_values_lie_to_the_right():
    published = [("a", 0.1, False), ("b", 0.3, False), ("c", 0.2, False)]
    chart = {
        better: standing("", [Metric("m", better, [(0, "x", Estimate(0.25))], published)])
        for better in (Better.HIGHER, Better.LOWER)
    }
    places = {
        better: [float(x) for x in re.findall(r'<circle cx="([\d.]+)"[^>]*r="4"', drawn)]
        for better, drawn in chart.items()
    }
    assert places[Better.HIGHER][0] < places[Better.HIGHER][2] < places[Better.HIGHER][1]
    assert places[Better.LOWER][0] > places[Better.LOWER][2] > places[Better.LOWER][1]
    assert "best 0.3, b" in chart[Better.HIGHER]
    assert "best 0.1, a" in chart[Better.LOWER]


def test_bad_published_values_far_off_are_pointed_to():
    published = [("a", 0.1, False), ("b", 0.12, False), ("c", 0.11, False), ("d", 90.0, False)]
    chart = standing("", [Metric("m", Better.LOWER, [(0, "x", Estimate(0.1))], published)])
    assert chart.count("<polygon") == 1
    assert "0.12<" in chart


@pytest.mark.parametrize("value", [math.nan, 0.0, 1.0, -3.0])
def test_equal_values_have_a_place(value):
    chart = standing("", [Metric("m", Better.HIGHER, [(0, "x", Estimate(value))], [("a", 1.0, False)])])
    assert chart is None if math.isnan(value) else "nan" not in chart

"""The report is one page that loads nothing, whatever stands in it, and no number in it is made up."""

import math
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reporting import HOSTILE, Broken, Drawn, Elements, Plain, evaluated, figure, row_of, text_of

from molgen import registry
from molgen.evaluation.evaluate import Figure
from molgen.metric import Better, Estimate, undefined
from molgen_cli import report
from molgen_cli.figures import Evaluated
from molgen_cli.report import numbers, sections
from molgen_cli.report.charts import Series, densities
from molgen_cli.report.histograms import bins, histogram, span, summed
from molgen_cli.report.markup import Html, address, markup, shortened, shrunk, tag
from molgen_plugins.molecules.domain import Molecules

# --- the page -------------------------------------------------------------------------------------


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    path = tmp_path / "report.html"
    report.write(path, [evaluated()], [evaluated("Test", figures=[])], {"reference": "moses"}, Drawn())
    found = Elements(path.read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe", "object", "base"} & {name for name, _ in found.found}
    ids = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in found.found:
        assert attributes.get("src", "data:image/svg+xml,").startswith("data:image/svg+xml,")
        assert attributes.get("href", "#metrics").removeprefix("#") in ids
        assert not any(name.startswith("on") or "url(" in (value or "") for name, value in attributes.items())
    assert "default-src 'none'" in next(one["content"] for one in found.named("meta") if "http-equiv" in one)


def test_what_cannot_be_seen_is_said():
    found = Elements(text_of([evaluated()], [evaluated("Test")], {"reference": "moses"}))
    charts = [one for one in found.named("svg") if "role" in one]
    assert len(charts) == 4  # two properties, scaffolds, and where the files stand
    assert all(one["aria-label"] for one in charts)
    assert all(one["alt"] for one in found.named("img"))
    assert all("aria-hidden" in one or "role" in one or "sign" in one["class"] for one in found.named("svg"))


def test_hostile_text_stays_text():
    hostile = evaluated(
        HOSTILE * 50,
        figures=[figure(HOSTILE, error=HOSTILE), figure("<b>x</b>", warning=HOSTILE)],
        sample=["<img src=x onerror=alert(1)>", "</svg><script>"],
        values={HOSTILE: np.arange(50.0)},
        nearest=[(HOSTILE, "</svg><script>", 0.5)],
        groups=[("</svg></title><script>", 9), (HOSTILE, 3)],
        seconds={HOSTILE: 1.0},
    )
    about = {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}], "reference": HOSTILE}
    calm = evaluated(nearest=[("a", "b", 0.5)])
    text = text_of([hostile, hostile], [hostile], about)
    known = {name for name, _ in Elements(text_of([calm, calm], [calm])).found}
    found = Elements(text)
    assert {name for name, _ in found.found} <= known | {"abbr", "sup", "ol", "li", "ul", "dt", "dd"}
    assert "onerror" not in {name for _, attributes in found.found for name in attributes}
    assert "\0" not in text
    assert "\u202e" not in text
    assert "alert(1)" in found.text


@pytest.mark.parametrize("name", ["x" * 5000, "", "\ud800", "é 漢"])
def test_any_name_of_a_file(name):
    text_of([evaluated(name)], [evaluated(name)]).encode()


def test_a_set_without_anything():
    empty = Evaluated("empty.csv", 0, 0)
    text = text_of([empty], [empty])
    assert "0 rows" in Elements(text).text
    assert 'id="metrics"' not in text
    assert 'id="about"' in text


def test_several_files_have_a_column_each():
    files = [evaluated(f"file-{k}", sample=[f"C{k}"]) for k in range(9)]
    found = Elements(text_of(files))
    assert all(f"file-{k}" in found.text for k in range(9))
    assert len(row_of(text_of(files), "Valid")) == 9


def test_a_page_of_many_drawings_stays_small():
    molecules = registry.get("domain", "molecules")()
    items = (molecules.examples() * 5)[:60]
    one = evaluated(sample=items, nearest=[(item, items[0], 0.5) for item in items[:12]])
    assert len(text_of([one], domain=molecules).encode()) < 1_000_000
    assert len(text_of([one] * 8, domain=molecules).encode()) < 3_000_000


# --- numbers --------------------------------------------------------------------------------------


def test_a_failed_metric_has_no_number():
    failed = [
        figure("FCD/Test", math.nan, error="no <network>"),
        Figure("Novelty", "novelty", undefined("no training set"), Better.HIGHER),
        figure("Valid", 0.5, warning="too few rows"),
    ]
    text = text_of([evaluated(figures=failed)], about={"reference": "moses"})
    assert row_of(text, "FCD/Test")[0][0] == "failed"
    assert row_of(text, "Novelty")[0][0] == numbers.NONE
    words = Elements(text).text
    assert "1 figure failed: FCD/Test of samples" in words
    assert "1 figure without a value: Novelty of samples" in words
    assert "1 figure with a warning: Valid of samples" in words
    assert all(one in words for one in ("no <network>", "no training set", "too few rows"))


def test_notes_stand_once_and_are_referred_to():
    files = [evaluated(name, figures=[figure("A", warning="few"), figure("B", warning="few")]) for name in "xy"]
    text = text_of(files)
    assert text.count('id="note-1"') == 1
    assert text.count('href="#note-1"') == 4
    assert 'id="note-2"' not in text


@pytest.mark.parametrize(
    ("better", "intervals", "best"),
    [
        (Better.HIGHER, [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], 1),
        (Better.LOWER, [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], 0),
        (Better.HIGHER, [(0.5, 0.4, 0.75), (0.8, 0.7, 0.9)], None),
        (Better.NEITHER, [(0.5, 0.4, 0.6), (0.8, 0.7, 0.9)], None),
        (Better.HIGHER, [(0.5, math.nan, math.nan), (0.8, 0.7, 0.9)], 1),
        (Better.HIGHER, [(math.nan, math.nan, math.nan), (0.8, 0.7, 0.9)], None),
    ],
)
def test_only_a_clear_best_is_bold(better, intervals, best):
    files = [evaluated(str(k), figures=[figure("A", *one, better)]) for k, one in enumerate(intervals)]
    row = re.search(r'<tr><th scope="row">A.*?</tr>', text_of(files))[0]
    cells = re.findall("<td.*?</td>", row)
    assert [k for k, cell in enumerate(cells) if "<b>" in cell] == ([] if best is None else [best])


@pytest.mark.parametrize(
    ("low", "high", "decimals"), [(0.19, 0.21, 3), (0.9, 0.92, 3), (10.0, 30.0, 0), (0.5, 0.5, 4), (math.nan, 1, 4)]
)
def test_decimals_follow_the_interval(low, high, decimals):
    assert numbers.decimals([Estimate(1.0, low, high)]) == decimals


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (-0.5, "\u22120.5000"), (1e-7, "1e\u221207"), (0.0, "0.0000"), (math.inf, "\u2013")],
)
def test_numbers_as_text(value, text):
    assert numbers.number(value) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_within(low, width):
    found = numbers.ticks(low, low + width)
    slack = 1e-6 * width
    assert len(found) <= 8
    assert all(low - slack <= tick <= low + width + slack for tick in found)
    assert found == sorted(set(found))


# --- distributions --------------------------------------------------------------------------------


def test_densities_are_shares_per_unit():
    found = histogram(np.array([0.0, 0.5, 1.5, np.nan, 99.0]), np.array([0.0, 1.0, 2.0]))
    assert found.heights.tolist() == [0.5, 0.25]


def test_whole_numbers_have_a_bin_each():
    values = np.array([0, 1, 1, 3.0])
    ends = span([values])
    assert ends == (-0.5, 3.5)
    assert bins(values, *ends).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


def test_few_values_have_few_bins():
    values = np.random.default_rng(0).normal(size=10_000)
    assert len(bins(values[:50], -3, 3)) < len(bins(values, -3, 3)) <= 61


def test_the_axis_leaves_single_outliers_out():
    low, high = span([np.append(np.random.default_rng(0).uniform(size=10_000), [1e6, np.nan])])
    assert 0 <= low < 0.01
    assert 0.99 < high < 1.01


@pytest.mark.parametrize("values", [[], [np.nan], [3.25], [3.25] * 9, [np.nan, 2.0], [0.0, np.inf]])
def test_few_or_odd_values_can_be_drawn(values):
    series = Series("a", 0, np.array(values, float))
    chart = densities("title", [series], [Series("r", -1, np.array([]))])
    assert (chart is None) == (not np.isfinite(series.values).any())
    assert chart is None or "nan" not in chart
    assert summed(series.values).missing == np.count_nonzero(~np.isfinite(series.values))


def test_a_cut_off_peak_is_told():
    spike = Series("a", 0, np.append(np.full(2000, 5.0), np.random.default_rng(0).normal(3, 2, 200)))
    reference = Series("r", -1, np.random.default_rng(1).normal(3, 2, 5000))
    assert "times as high" in densities("", [spike], [reference])
    assert "times as high" not in densities("", [reference], [reference])


def test_means_stand_beside_the_curves():
    chart = densities("", [Series("a", 0, np.array([1.0, 2.0]))], [Series("r", -1, np.array([3.0, 4.0]))])
    assert "mean 1.50, reference 3.50" in chart


# --- scaffolds, items -----------------------------------------------------------------------------


def test_scaffolds_are_counted_by_hand():
    reference = evaluated("Test", valid=50, groups=[("c1ccccc1", 25), ("C1CO1", 5)])
    words = Elements(text_of([evaluated()], [reference])).text
    assert "56.7 % / 56.7 %" in words  # 51 of 90 in the most frequent
    assert "33.3 %" in words  # 30 of 90 have a scaffold that the reference has too


def test_a_domain_says_what_its_groups_are():
    class Families(Drawn):
        group_words = ("family", "families")

    words = Elements(text_of([evaluated()], domain=Families())).text
    assert "Families" in words
    assert "most frequent families" in text_of([evaluated()], domain=Families())
    assert "Scaffold" not in text_of([evaluated()])
    assert "Scaffolds" in Elements(text_of([evaluated()], domain=Molecules())).text


def test_few_items_do_not_choose_the_scaffolds():
    large = evaluated("large", valid=10_000, groups=[(f"large {k}", 150) for k in range(12)])
    small = evaluated("small", valid=100, groups=[(f"seldom {k}", 2) for k in range(12)])
    text = text_of([large, small])
    assert "large 11" in text
    assert "seldom" not in text


def test_a_domain_without_drawings_has_no_sheets():
    text = text_of([evaluated()], domain=Plain())
    assert "<img" not in text
    assert 'id="samples"' not in text
    assert 'id="neighbours"' not in text
    assert 'id="groups"' in text


def test_a_broken_drawing_does_not_cost_the_figures():
    text = text_of([evaluated()], domain=Broken())
    assert "RuntimeError: no &lt;ink&gt;" in text
    assert row_of(text, "Valid")[0][0] == "0.90"


def test_copies_are_told_from_neighbours():
    words = Elements(text_of([evaluated()])).text
    assert "similarity 1.00, a copy" in words
    assert "similarity 0.25" in words
    assert "similarity 0.25, a copy" not in words


def test_many_files_share_the_drawings():
    assert sections._each((60, 12, 240), 1) == 60
    assert sections._each((60, 12, 240), 8) == 30
    assert sections._each((60, 12, 240), 100) == 12


def test_repeated_styles_are_written_once():
    line = "<path class='bond' style='fill:none;stroke:#000' d='M 0,0 L 1,1'/>"
    svg = f"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'>{line * 20}<text>style='x' &lt;</text></svg>"
    lean = shrunk(svg)
    assert len(lean) < 0.7 * len(svg)
    assert lean.count("fill:none") == 1
    assert "style='x'" in lean
    assert len(ElementTree.fromstring(lean)) == 22
    assert ElementTree.fromstring(unquote(address(svg).partition(",")[2])) is not None


@pytest.mark.parametrize("svg", ["<svg><style>.a{}</style><path style='b'/></svg>", "no picture", ""])
def test_other_documents_stay_as_they_are(svg):
    assert shrunk(svg).strip() in svg
    assert '"' not in address(svg + '"')


# --- markup ---------------------------------------------------------------------------------------


def test_only_markup_is_not_escaped():
    assert tag("p", "<a>", Html("<b>"), None, [1, "&"], class_='"') == '<p class="&quot;">&lt;a&gt;<b>1&amp;</p>'
    assert markup("a\0b\u202ec\ud800") == "a\ufffdb\ufffdc\ufffd"
    assert tag("img", src="x") == '<img src="x">'
    assert tag("i", x=1 / 3, y=2.0, z=None) == '<i x="0.33" y="2"></i>'


def test_a_long_name_keeps_both_ends():
    assert shortened("generated-by-model-17.csv", 12) == "generat….csv"
    assert shortened("short.csv", 12) == "short.csv"


class Heard(Plain):
    def audible(self, item):
        if item == "c":
            raise RuntimeError("hoarse")
        return item.encode() if item != "a" else None


def test_what_can_be_heard_plays_in_the_page(monkeypatch):
    found = Elements(text_of([evaluated(sample=["a", "bb", "c"], nearest=[("bb", "d", 0.5)])], domain=Heard()))
    players = found.named("audio")
    assert [one["src"] for one in players] == [f"data:audio/wav;base64,{code}" for code in ("YmI=", "YmI=", "ZA==")]
    assert [one["aria-label"] for one in players] == ["Play 2", "Play item", "Play nearest training item"]
    assert "media-src data:" in next(one["content"] for one in found.named("meta") if "http-equiv" in one)
    assert not Elements(text_of([evaluated()])).named("audio")
    monkeypatch.setattr("molgen_cli.report.markup.MOST_SOUND", 1)
    assert len(Elements(text_of([evaluated(sample=["bb", "d"], nearest=[])], domain=Heard())).named("audio")) == 1

from molgen_text import Text, TextConfig

from molgen.testing import parametrize_with_checks


@parametrize_with_checks("text")
def test_conformance(check):
    check()


def test_words_are_classes_where_asked():
    text = Text(TextConfig(words=True))
    text.prepare(["to be or not to be"])
    assert text.vocabulary == [" ", "be", "not", "or", "to"]
    assert text.decode(text.encode("not to be")) == "not to be"

"""The glossary has the words that the app uses, in full sentences."""

from nes_lab.records.glossary import GLOSSARY


def test_each_word_has_a_full_sentence():
    assert {
        "Epitome",
        "Patch",
        "Starting index",
        "Routing",
        "MAdds",
        "Params",
        "Stored bytes",
        "Budget",
        "Plan",
    } == set(GLOSSARY)
    for text in GLOSSARY.values():
        assert text[0].isupper() and text.endswith(".") and len(text) < 200

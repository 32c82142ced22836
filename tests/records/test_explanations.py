"""What is said about two networks follows from the numbers."""

import pytest

from nes_lab.records.explanations import explanation_finding, explanation_table

AREAS = {"deletion_first": 0.2, "deletion_second": 0.4, "insertion_first": 0.9, "insertion_second": 0.8}


def row(rank, overlap=0.5, answers=(1, 1), **more):
    return {"answers": list(answers), "rank_correlation": rank, "overlap": overlap, **AREAS, **more}


@pytest.mark.parametrize(
    ("rank", "says"),
    [(0.8, "largely the same"), (0.5, "partly the same"), (0.1, "mostly other"), (-0.5, "mostly other")],
)
def test_explanation_finding_follows_from_the_mean_rank_correlation(rank, says):
    text = explanation_finding([row(rank - 0.1, 0.25), row(rank + 0.1, 0.75, answers=(1, 2)), row(None, 0.5)])
    assert f"look at {says} places: mean rank correlation {rank:.2f}, 50 % of the top tenth shared" in text
    assert (
        "They give the same answer on 2 of 3." in text
        and "0.20 and 0.90 for the reference and 0.40 and 0.80 for the run: both maps point at" in text
    )


def test_explanation_finding_of_one_image():
    assert "They give different answers." in explanation_finding([row(0.9, answers=(1, 2))])
    assert explanation_finding([row(None)]).startswith("On this image, at least one map is the same everywhere")
    assert "at least one map does not point at" in explanation_finding([row(0.9, insertion_second=0.1)])


def test_explanation_table_names_classes_and_shows_unknown_values():
    table = explanation_table(
        [row(None, label=None, name="a.png"), row(0.5, label=1, index=1234)], ["cat", "<i>dog</i>"]
    )
    first, second = table.rows
    assert (first["input"], first["true_class"], first["rank"]) == ("a.png", "–", "–")
    assert (second["input"], second["true_class"], second["answer_run"]) == ("1,234", "<i>dog</i>", "<i>dog</i>")
    assert second["deletion"] == "0.20 / 0.40"

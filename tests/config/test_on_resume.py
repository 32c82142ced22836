"""Every field of a configuration is classified for a run that is resumed: it decides the training, may change, or may move."""

from collections import Counter

from nes_lab.config import knobs, load_config
from nes_lab.config.on_resume import DECIDE, MAY_CHANGE, MAY_MOVE, on_resume, setting_changes


def test_on_resume_knows_every_field_once():
    """A new field of the configuration fails here until it has a line in one of the tables of ``config/on_resume.py``."""
    deciding = [f"{section}.{name}".lstrip(".") for section, names in DECIDE.items() for name in names.split()]
    classified = Counter([*deciding, *MAY_CHANGE, *MAY_MOVE])
    fields = {knob.path for knob in knobs()}
    assert not fields - set(classified), "say in nes_lab/config/on_resume.py whether the field may change on resume"
    assert not set(classified) - fields, "these are no fields"
    assert max(classified.values()) == 1
    assert {on_resume(path) for path in deciding} == {"decides"}
    assert on_resume("training.of_tomorrow") == "decides", "an unknown field is refused"


def test_setting_changes_names_a_section_that_only_one_has():
    dense, compressed = load_config({"seed": 1}), load_config({"compression": {"params": "50%"}})
    assert [change.path for change in setting_changes(dense, compressed)] == ["seed", "compression"]
    assert setting_changes(dense, dense) == []


def test_setting_changes_reads_nested_options_as_one_field():
    before = load_config({"training": {"optimizer_options": {"eps": 0.001}}})
    (change,) = setting_changes(before, load_config({}))
    assert change.text() == "training.optimizer_options was {'eps': 0.001}, is {}"

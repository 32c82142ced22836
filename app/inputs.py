"""Draw widgets for fields of the configuration. The help text, default and range of a widget come from its field."""

import sys
from collections.abc import Mapping
from typing import Any, get_args

import streamlit as st
from pydantic.fields import FieldInfo

from app.components.errors import show_error
from nes_lab.config import ExperimentConfig, Knob, Section, knobs
from nes_lab.config.changed import changed_fields
from nes_lab.import_spec import own_names
from nes_lab.records.field_names import choice_of, choice_words, label_of
from nes_lab.runs.layout import is_run_id

__all__ = [
    "FROM_FOLDER",
    "FROM_RUN",
    "FROM_WEIGHTS",
    "SCRATCH",
    "field_input",
    "form_address",
    "imports_allowed",
    "imports_refused",
    "in_address",
    "shown_value",
    "text_or_none",
    "typed_value",
    "use_names_in_address",
]

SCRATCH, FROM_WEIGHTS, FROM_FOLDER, FROM_RUN = "scratch", "pretrained, fitted", "saved network", "a run"
"""What a run can start from, as the form names it."""
_DEFAULTS = {knob.path: knob for knob in knobs()}


def field_input(path: str, **options: Any) -> Any:
    """Draw the widget that fits a field of the configuration, and return the value that the user entered.

    The page's address holds the value, so it stays when the user visits another page, and a link shows the same form.

    Args:
        path: Dotted path of the field, such as ``training.lr``.
        options: Options of the Streamlit widget. The option ``value`` replaces the field's default.
    """
    knob, info = _DEFAULTS[path], _info(path)
    value = options.pop("value", knob.default)
    common: dict[str, Any] = {"help": knob.description} | in_address(path) | options
    label = label_of(path)
    if knob.choices:
        return _choose(knob, knob.choices.index(value), common)
    kinds = set(get_args(info.annotation)) or {info.annotation}
    if kinds == {bool}:
        return st.toggle(label, value=bool(value), **common)
    if str in kinds or not kinds & {int, float}:
        return st.text_input(label, value="" if value is None else str(value), **common)
    number = float if float in kinds else int
    _explain_unreadable(path, number)
    common.setdefault("placeholder", "automatic")
    return st.number_input(
        label,
        min_value=_bound(info, "ge", "gt", number),
        max_value=_bound(info, "le", "lt", number),
        value=None if value is None else number(value),
        format="%d" if number is int else "%g",
        **common,
    )


def _choose(knob: Knob, index: int, common: dict[str, Any]) -> Any:
    """Draw the widget of a field with choices. The form and the address show the names of the values."""
    path = knob.path
    for value in knob.choices:
        common["help"] = common["help"].replace(f"{value} (", f"{choice_words(path, value)} (")
    return st.selectbox(
        label_of(path), knob.choices, index=index, format_func=lambda value: choice_words(path, value), **common
    )


def _explain_unreadable(path: str, number: type) -> None:
    """Show an error if the page's address had a text for a field of numbers that is not a number. Streamlit drops such a text.

    Args:
        path: Dotted path of the field.
        number: Type of the field, ``int`` or ``float``.
    """
    given, kept = st.query_params.get(path), f"unreadable-{path}"
    try:
        number(given or 0)
    except ValueError:
        st.session_state[kept] = given
    if given is None and st.session_state.get(path) is not None:  # the user has entered a number
        st.session_state.pop(kept, None)
    if kept in st.session_state:
        show_error(
            f"The address has {st.session_state[kept]!r} for {label_of(path)}, which is not a number. The field keeps its default."
        )


def use_names_in_address() -> None:
    """Put the names of values where a link holds the values of a configuration. Call it at the beginning of a page with a form."""
    linked = {path: text for path, text in st.query_params.items() if path in _DEFAULTS}
    named = {path: choice_words(path, text) for path, text in linked.items()}
    if named != linked:
        st.query_params.from_dict(st.query_params.to_dict() | named)
        st.rerun()  # fields read the address when a run begins


def in_address(name: str) -> dict[str, Any]:
    """Return the options of a Streamlit widget with which the page's address holds its value.

    Args:
        name: Name of the value in the address. It is also the widget's key.
    """
    return {"key": name, "bind": "query-params"}


def form_address(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the part of an address that fills the form on the page Compress with the values of a configuration."""
    fields = changed_fields(config) | _start_address(config)
    compression = config.get("compression")
    if compression is None:
        return fields | {"dense": "true"}
    # the form begins with a budget and a routing of its own
    return fields | {f"compression.{name}": str(compression.get(name) or "") for name in ("madds", "routing")}


def _start_address(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the part of an address that fills the fields about the start of a run."""
    start = config.get("start")
    if start and is_run_id(name := start.partition(":")[0]):
        return {"start-from": FROM_RUN, "start-run": name, "start-weights": start.partition(":")[2] or "last"}
    if start:
        return {"start-from": FROM_FOLDER, "start-folder": start}
    return {"start-from": FROM_WEIGHTS} if (config.get("backbone") or {}).get("pretrained") else {}


def shown_value(path: str, text: str | None) -> Any:
    """Return the value of a field's widget for a text.

    Args:
        path: Dotted path of the field.
        text: Text as in the page's address; None: the default of the field.
    """
    knob, info = _DEFAULTS[path], _info(path)
    kinds = set(get_args(info.annotation)) or {info.annotation}
    if knob.choices:
        return knob.default if text is None else choice_of(path, text)
    if kinds == {bool}:
        return bool(knob.default) if text is None else text == "true"
    if str in kinds or not kinds & {int, float}:
        return text if text is not None else str(knob.default or "")
    value = knob.default if text is None else text or None
    return None if value is None else (float if float in kinds else int)(value)


def typed_value(path: str) -> Any:
    """Return the value that the widget of a field will have, before it is drawn: as typed, as in the address, or the default."""
    if path in st.session_state:
        return st.session_state[path]
    try:
        return shown_value(path, st.query_params.get(path))
    except ValueError:  # the address holds something else, which the widget leaves out
        return shown_value(path, None)


def imports_allowed() -> bool:
    """Return True if the app was started with ``--allow-import``. The app then imports functions that the user names."""
    return "--allow-import" in sys.argv[1:]


def imports_refused(config: Mapping[str, Any]) -> bool:
    """Show an error and return True if a configuration names the user's own code and the app may not import it.

    Args:
        config: The configuration, or only some of its sections.
    """
    names = own_names(config)
    if not names or imports_allowed():
        return False
    given = ", ".join(f"{field}={spec!r}" for field, spec in names.items())
    show_error(
        f"{given} names a function of your own. The app imports no code unless it is started with: "
        "streamlit run app/main.py -- --allow-import. Or use the command line: nes-lab train and nes-lab resume import it."
    )
    return True


def text_or_none(value: str | None) -> str | None:
    """Return the text without surrounding spaces, or None if it is empty."""
    return (value or "").strip() or None


def _info(path: str) -> FieldInfo:
    section: type[Section] = ExperimentConfig
    *parents, last = path.split(".")
    for name in parents:
        annotation = section.model_fields[name].annotation
        kinds = (annotation, *get_args(annotation))
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
    return section.model_fields[last]


def _bound(info: FieldInfo, closed: str, opened: str, number: type) -> Any:
    """Return the smallest or the largest value that a field of the configuration allows; None if there is no limit.

    Args:
        info: Description of the field by pydantic.
        closed: Name of pydantic's rule for a limit that is itself allowed: ``ge`` or ``le``.
        opened: Name of pydantic's rule for a limit that is itself not allowed: ``gt`` or ``lt``.
        number: Type of the result, ``int`` or ``float``.
    """
    # A field may exclude the bound itself. The widget accepts it then, and the configuration refuses it later.
    for rule in info.metadata:
        bound = getattr(rule, closed, getattr(rule, opened, None))
        if bound is not None:
            return number(bound)
    return None

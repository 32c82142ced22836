"""Record: the base class of compression plans and of reports. It reads and writes JSON and makes tables, text and HTML.

To add a kind of plan or report, write a frozen dataclass that inherits from :class:`Record`. It has a ``NAME``, a short
``__repr__`` and a ``table``::

    @dataclass(frozen=True, repr=False)
    class DeviceReport(Record):
        NAME = "device report"
        seconds: float

        def __repr__(self) -> str:
            return f"DeviceReport: {self.seconds:.1f} s"

        def table(self) -> Table:
            return Table(columns("seconds"), [asdict(self)])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from nes_lab.errors import PlanError
from nes_lab.packages import needed_for
from nes_lab.records.table import Table

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

__all__ = ["Part", "Record"]

R = TypeVar("R", bound="Record")
_LONGEST_VALUE = 60


class Part:
    """Base class of the dataclasses inside a compression plan or a report. JSON with an unknown field is refused."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}


class Record(Part):
    """Base class of compression plans and of reports: frozen dataclasses that are saved as JSON and shown as tables.

    Attributes:
        NAME: What messages call this kind of plan or report, such as ``fit report``.
        SCHEMA: Version number of the JSON format. The number grows when older versions of the library cannot read the new
            format. None: the JSON has no version number.
        OLD_NAMES: Old name of a field -> its current name. The JSON that is written has the value under both names. JSON that
            has only one of the two names can be read too.
    """

    NAME: ClassVar[str] = "record"
    SCHEMA: ClassVar[int | None] = 1
    OLD_NAMES: ClassVar[Mapping[str, str]] = {}

    def table(self) -> Table:
        """Return the compression plan or the report as a table with a heading and notes."""
        raise NotImplementedError

    def to_csv(self) -> str:
        """Return the compression plan or the report as CSV.

        Text that a spreadsheet would run as a formula gets an apostrophe in front.
        """
        return self.table().csv()

    def __repr__(self) -> str:
        return f"{type(self).__name__}, a {self.NAME}"

    def __str__(self) -> str:
        return self.table().text()

    def _repr_html_(self) -> str:
        return self.notebook_table().html()

    def notebook_table(self) -> Table:
        """Return the table that a notebook shows. It has a line that sums up the plan or report above it."""
        table = self.table()
        return replace(table, before=(*repr(self).splitlines(), *table.before))

    def to_dict(self) -> dict[str, Any]:
        """Return the compression plan or the report as plain data for JSON, with the version number of the JSON format."""
        number = {} if self.SCHEMA is None else {"schema": self.SCHEMA}
        data: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return number | data | {old: data[new] for old, new in self.OLD_NAMES.items()}

    def to_json(self, indent: int | None = 2) -> str:
        """Return the compression plan or the report as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls: type[R], text: str) -> R:
        """Read a compression plan or a report from the JSON text that :meth:`to_json` writes.

        Raises:
            PlanError: If the text is not JSON, has another version number, or a field is missing, unknown or of a wrong type;
                the message names the field and its value.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(f"this is not a {cls.NAME} in JSON: {error}") from error
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls: type[R], data: Any) -> R:
        """Read a compression plan or a report from the plain data that :meth:`to_dict` returns.

        Raises:
            PlanError: If the data has another version number, or a field is missing, unknown or of a wrong type; the message
                names the field and its value.
        """
        with needed_for(f"reading a {cls.NAME}"):
            from pydantic import ValidationError

        fields_of_it = cls.upgrade(cls._without_schema(data))
        for old, new in cls.OLD_NAMES.items():
            if old in fields_of_it:
                fields_of_it.setdefault(new, fields_of_it[old])
                del fields_of_it[old]
        try:
            return _reader(cls).validate_json(json.dumps(fields_of_it), strict=True)
        except ValidationError as error:
            raise PlanError(f"the {cls.NAME} {_problem(error.errors()[0])}") from error
        except (TypeError, ValueError) as error:
            raise PlanError(f"the {cls.NAME} cannot be read: {error}") from error

    @classmethod
    def upgrade(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Convert the fields of JSON that an older version of the library wrote to the current fields.

        Subclasses whose fields changed override this method.
        """
        return data

    @classmethod
    def _without_schema(cls, data: Any) -> dict[str, Any]:
        number = data.get("schema") if isinstance(data, dict) else type(data).__name__
        if cls.SCHEMA is None and isinstance(data, dict):
            return {name: value for name, value in data.items() if name != "schema"}
        if not isinstance(number, int) or not 1 <= number <= (cls.SCHEMA or 0):
            known = " or ".join(str(n) for n in range(1, (cls.SCHEMA or 0) + 1))
            raise PlanError(f"schema={number!r}; this version reads {cls.NAME}s of schema {known or 'none'}")
        return {name: value for name, value in data.items() if name != "schema"}


@cache
def _reader(kind: type[R]) -> TypeAdapter[R]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _problem(error: ErrorDetails) -> str:
    """Describe what is wrong with a field in JSON: its place, its value and what is allowed. An error message ends with this text."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] in ("missing", "missing_argument"):
        return f"lacks or misnames a field: {place} is missing"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"lacks or misnames a field: {place} is not known"
    if not place:  # the record as a whole does not fit together
        return f"is not consistent: {error['msg'].removeprefix('Value error, ')}"
    value = repr(error["input"])
    shown = value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 3] + "..."
    return (
        f"has {place}={shown}; {error['msg'].removeprefix('Value error, ').replace('Input should be', 'it should be')}"
    )

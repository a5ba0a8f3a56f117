"""The rows of a result: a tuple that prints as a table, in a notebook too, and becomes a polars frame."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import polars as pl


class PrintedRow(Protocol):
    """A frozen record that says which of its columns are printed; `to_frame` has all of them."""

    SHOWN: ClassVar[tuple[str, ...]]
    __dataclass_fields__: ClassVar[dict[str, Any]]


FLOATS = pl.selectors.float()
R = TypeVar("R", bound=PrintedRow)


class Rows(tuple[R, ...]):
    """Records of one kind. Compared, indexed and iterated like any tuple."""

    __slots__ = ()

    def to_frame(self) -> pl.DataFrame:
        """A row for each record and a column for each field; those of a record inside are called `field_name`."""
        return pl.DataFrame([_flat(record) for record in self], infer_schema_length=None)

    def __repr__(self) -> str:
        with _print_settings():
            return str(self._shown())

    def _repr_html_(self) -> str:
        with _print_settings():
            return self._shown()._repr_html_()

    def _shown(self) -> pl.DataFrame:
        # Four figures, not three decimals: a small p-value is not zero.
        return self.to_frame().select(self[0].SHOWN if self else ()).with_columns(FLOATS.round_sig_figs(4))


def _print_settings() -> pl.Config:
    return pl.Config(tbl_rows=100, tbl_cols=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True)


def _flat(record: PrintedRow) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in fields(record):
        value = getattr(record, item.name)
        if is_dataclass(value):
            inner = {each.name: getattr(value, each.name) for each in fields(value)}
            row |= {f"{item.name}_{name}": each for name, each in inner.items() if name not in row}
        else:
            row[item.name] = list(value) if isinstance(value, tuple) else value
    return row

"""A table or figure, as its config describes it."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Table:
  """The fields of a config of a table."""

  name: str  # of its folder
  command: str  # of the config, with its argument
  title: str
  note: str  # printed above the table
  rows: tuple[str, ...]  # names of some of `methods`, in their order
  methods: dict[str, dict]  # the config of each row's method
  columns: tuple[str, ...]  # names of some of `on`, in their order
  on: dict[str, dict]  # `terms` that a column gives to methods, and its place `x`
  x_label: str  # of the columns, where they are an axis
  measures: tuple[str, ...]
  paper: dict[str, dict]  # the paper's numbers by row, column and measure
  seeds: tuple[int, ...]
  tune: bool  # whether settings are searched on the data of the table
  data: dict[str, Any]  # of columns without their own
  plain: dict[str, Any]  # the fields that the command has without further flags


def from_config(config: Any) -> Table:
  """The table of a config: a ConfigDict, or a mapping with the same fields."""
  fields = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  for name in ('rows', 'columns', 'measures', 'seeds'):
    fields[name] = tuple(fields[name])
  return Table(**fields)

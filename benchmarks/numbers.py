"""Flags that hold several positive numbers, such as `--batches=256,1024`."""

from collections.abc import Sequence
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # A flag belongs to the benchmark that defines it.


class Positive(flags.ListParser):
  """Parses positive numbers of one type, separated by commas."""

  def __init__(self, number: type[int] | type[float]):
    super().__init__()
    self.number = number

  def parse(self, argument: str | list) -> list:
    try:
      found = [self.number(part) for part in super().parse(argument)]
    except ValueError:
      found = [0]
    if not all(0 < each < float('inf') for each in found):
      kind = 'whole numbers' if self.number is int else 'numbers'
      raise ValueError(f'expected positive {kind} between commas')
    return found


def define(
  name: str, default: Sequence[int] | Sequence[float], help: str
) -> flags.FlagHolder[Any]:
  """Defines a flag of integers, or of floats if the default has floats."""
  number = float if any(isinstance(each, float) for each in default) else int
  parser, written = Positive(number), flags.CsvListSerializer(',')
  return flags.DEFINE(parser, name, list(default), help, serializer=written)

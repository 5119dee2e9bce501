"""xdomain: cross-domain recommendation in JAX.

The names below are the Python API; they are imported when they are first used. Rooms:
`base` holds the words on the device, `data` reads and splits, `models` has a file a
method, `training` and `evaluation` are the same for all of them, `runs` makes runs and
artefacts, `reporting` makes tables and figures.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from xdomain.api import (
    Comparison,
    Recommendation,
    Split,
    Trained,
    audit,
    by_ratio,
    cold_start,
    compare,
    fit,
    given,
    given_ratings,
    leave_last_out,
    leave_one_out,
    load,
    load_given,
    load_pair,
    partial,
    positives,
    rating_by_time,
    time_cold_start,
    time_split,
    write_split,
  )

# The version of the package. `runs.spec.COMPARABLE` says whose records are compared.
__version__ = '0.2.0'

__all__ = [
  'Comparison',
  'Recommendation',
  'Split',
  'Trained',
  'audit',
  'by_ratio',
  'cold_start',
  'compare',
  'fit',
  'given',
  'given_ratings',
  'leave_last_out',
  'leave_one_out',
  'load',
  'load_given',
  'load_pair',
  'partial',
  'positives',
  'rating_by_time',
  'time_cold_start',
  'time_split',
  'write_split',
]


def __getattr__(name: str):
  if name in __all__:
    return getattr(importlib.import_module('xdomain.api'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])

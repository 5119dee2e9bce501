"""Data sets by kind: `dataset(kind, **options)` -> `Dataset`.

A kind is a dataclass: its fields are the options with their defaults, its `read`
returns the data set. What was parsed and filtered is kept in the cache.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, get_type_hints

from xdomain import wording
from xdomain.data import filters, given, named, own, types

Say = Callable[[str], Any]

KINDS = {
  'movielens': named.MovieLens,
  'movielens_implicit': named.MovieLensImplicit,
  'movielens_100k': named.MovieLens100k,
  'movielens_100k_implicit': named.MovieLens100kImplicit,
  'amazon': named.Amazon,
  'amazon_implicit': named.AmazonImplicit,
  'tables': own.Tables,
  'tables_implicit': own.TablesImplicit,
  'given': given.Given,
  'synthetic': named.Synthetic,
  'synthetic_implicit': named.SyntheticImplicit,
}


def dataset(kind: str, say: Say = print, **options) -> types.Dataset:
  """Returns the data set of a kind.

  Args:
    kind: one of `KINDS`.
    say: called with lines on what is read and fetched.
    **options: fields of that kind's class; the others have its defaults.

  Raises:
    DataError: an unknown option, or data that is missing or wrong.
  """
  of_kind = chosen(kind, **options)
  every_user = dataclasses.replace(of_kind, most_users=0)  # One entry of the cache.
  return filters.sample(every_user.read(say), of_kind.most_users)


def chosen(kind: str, **options):
  """The kind of data with its options; raises a DataError on an unknown name."""
  if kind not in KINDS:
    raise types.DataError(f'kind={kind!r} is not known{wording.instead(kind, KINDS)}')
  known = [field.name for field in dataclasses.fields(KINDS[kind])]
  for name in options:
    if name not in known:
      raise types.DataError(
        f'{name}={options[name]!r} is no option of {kind!r} data'
        f'{wording.instead(name, known)}'
      )
  return KINDS[kind](**options)


def defaults(kind: str) -> dict[str, Any]:
  """All options of a kind with their defaults, `kind` among them."""
  return {'kind': kind, **dataclasses.asdict(KINDS[kind]())}


def options() -> dict[str, type]:
  """The types of all options, by name."""
  hints = {'kind': str}
  for kind in KINDS.values():
    hints |= get_type_hints(kind)
  return hints


def agrees(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
  """Whether data that a record describes is the data that is wanted.

  Options that the record lacks have their defaults. An option that is wanted as None
  is found out from the data, so it agrees with every value.
  """
  recorded = dict(recorded)
  if 'people' in recorded:  # its name in version 0.1
    recorded['users'] = recorded.pop('people')
  if str(recorded.get('kind')).startswith('tables'):
    recorded.setdefault('twins', 'keep')  # as data was before there was the option
  kind = recorded.get('kind')
  if kind != wanted.get('kind') or kind not in KINDS:
    return recorded == wanted
  recorded, wanted = (
    json.loads(json.dumps({**defaults(kind), **each})) for each in (recorded, wanted)
  )
  return recorded.keys() == wanted.keys() and all(
    value is None or recorded[name] == value for name, value in wanted.items()
  )


def rated(kind: str, **options) -> types.Dataset | None:
  """The ratings that positives of own files were chosen from; None of other kinds."""
  if kind != 'tables_implicit':
    return None
  return chosen(kind, **options).rated()

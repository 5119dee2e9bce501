"""Checks the body of a request, and names its first error in one sentence."""

import difflib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

LONGEST = 1000  # Characters of an id.
HIGHEST = 1e6  # The largest rating, and the least one below 0.


class Refused(Exception):
  """A request that is refused; `details` stand beside the sentence in the response."""

  def __init__(self, status: int, sentence: str, **details: Any):
    self.status, self.sentence, self.details = status, sentence, details
    super().__init__(sentence)


class Ask(NamedTuple):
  """A checked request for recommendations."""

  model: str | None = None  # None: the first of the models
  user: str | None = None  # None: a new user, given by items
  source: Mapping[str, float | None] = {}
  target: Mapping[str, float | None] = {}
  k: int = 10
  exclude_seen: bool = True
  explain: bool = False


def ask(body: bytes, most_items: int, top: int) -> Ask:
  """The request in a JSON body.

  Args:
    body: of a request.
    most_items: the most items of a domain.
    top: the most that can be recommended.

  Raises:
    Refused: with status 400.
  """
  given = json_object(body, Ask._fields)
  result = Ask(
    model=_text(given, 'model'),
    user=_text(given, 'user'),
    source=_items(given, 'source', most_items),
    target=_items(given, 'target', most_items),
    k=whole(given.get('k', 10), 'k', top),
    exclude_seen=_flag(given, 'exclude_seen', True),
    explain=_flag(given, 'explain', False),
  )
  has_items = bool(result.source or result.target)
  if (result.user is None) != has_items:
    raise Refused(
      400, 'give either user, or at least one item as source or target, and not both'
    )
  return result


def json_object(body: bytes, known: Collection[str]) -> dict[str, Any]:
  """The object in a JSON body, which may have known fields only."""
  try:
    given = json.loads(body, parse_constant=_no_number)
  except (ValueError, RecursionError):
    raise Refused(400, 'the body is not JSON in UTF-8') from None
  if not isinstance(given, dict):
    raise Refused(400, 'the body is not a JSON object, such as {"user": "ann"}')
  for name in given:
    if name not in known:
      near = difflib.get_close_matches(name, known, 1)
      instead = f'did you mean {near[0]}' if near else f'known are {", ".join(known)}'
      raise Refused(400, f'unknown field {name[:40]!r}; {instead}')
  return given


def _no_number(text):
  raise ValueError(f'{text} is no JSON')


def _text(given, field):
  value = given.get(field)
  if value is None:
    return None
  if isinstance(value, int) and not isinstance(value, bool):
    return str(value)
  return name(value, field)


def name(value: Any, field: str) -> str:
  """A value that is a raw id or the name of a model."""
  if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
    raise Refused(400, f'{field} is not a text of 1 to {LONGEST:,} characters')
  return value


def _items(given, field, most):
  """A dict of raw ids and their ratings, None for an item without a rating."""
  value = given.get(field) or {}
  if isinstance(value, list):
    if not all(isinstance(each, (str, int)) for each in value):
      raise Refused(400, f'{field} is not a list of item ids')
    value = dict.fromkeys(map(str, value))
  if not isinstance(value, dict):
    raise Refused(
      400, f'{field} is neither a list of item ids nor an object of ratings'
    )
  if len(value) > most:
    raise Refused(
      400, f'{field} has {len(value):,} items, at most {most:,} are allowed'
    )
  return {name(item, field): _rating(rating, field) for item, rating in value.items()}


def _rating(value, field):
  if value is None:
    return None
  number = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not number or not math.isfinite(value) or abs(value) > HIGHEST:
    raise Refused(400, f'a rating of {field} is not a number')
  return float(value)


def whole(value: Any, field: str, most: int) -> int:
  """An integer from 1 to `most`; a query string gives it as digits."""
  if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
    value = int(value)
  if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
    raise Refused(400, f'{field} is not a whole number from 1 to {most:,}')
  return value


def _flag(given, field, default):
  value = given.get(field, default)
  if not isinstance(value, bool):
    raise Refused(400, f'{field} is neither true nor false')
  return value

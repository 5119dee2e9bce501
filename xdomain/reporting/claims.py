"""Statements of papers as differences that should be positive, and their verdicts."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from xdomain.reporting import records as records_lib
from xdomain.reporting import tables


class Gain(NamedTuple):
  """The lead of one cell of a table over another, in the measure's sense."""

  winner: str
  loser: str
  column: str | None = None  # None: the table has one column
  other: str | None = None  # the loser's column


class Claim(NamedTuple):
  """A statement of a paper; it holds if every sum of gains is positive."""

  paper: str
  where: str
  text: str
  tables: tuple[str, ...]  # folders of results, each on its own data
  measure: str
  sums: tuple[tuple[Gain, ...], ...]
  printed: str = 'no number'  # of the paper
  equal: bool = False  # the claim is that the sums are about 0 instead


Records = Mapping[tuple[str, str, int], dict]  # By row, column and seed.


def over(
  winner: str, loser: str, column: str | None = None, other: str | None = None
) -> tuple[Gain, ...]:
  """The sum of one gain, each cell in its column; `+` adds another."""
  return (Gain(winner, loser, column, other or column),)


def by_place(records: Iterable[dict]) -> Records:
  """Records of a table by row, column and seed."""
  return {
    (record['row'], record['column'], record['seed']): record for record in records
  }


def row(claim: Claim, table: str, records: Records) -> dict[str, str]:
  """The row of a claim on the records of one table."""
  found = [estimate(gains, claim.measure, records) for gains in claim.sums]
  return {
    'paper': f'{claim.paper}, {claim.where}',
    'claim': claim.text,
    'measure': records_lib.title(claim.measure),
    'printed': claim.printed,
    'table': table,
    'ours': '<br>'.join(map(_text, claim.sums, found)),
    'verdict': verdict([estimate for estimate, _ in found], claim.equal),
  }


def estimate(
  gains: tuple[Gain, ...], measure: str, records: Records
) -> tuple[tables.Estimate | None, float | None]:
  """The sum of gains over seeds, and its percentage of the first loser's value.

  Both are None where no seed has all of the cells.
  """
  columns = sorted({column for _, column, _ in records})
  sign = -1 if records_lib.lower_is_better(measure) else 1

  def value(row, column, seed):
    record = records.get((row, column or columns[0], seed))
    found = None if record is None else records_lib.value(record, measure)
    return math.nan if found is None else found

  sums, losers = [], []
  for seed in sorted({seed for *_, seed in records}):
    pairs = [
      (value(gain.winner, gain.column, seed), value(gain.loser, gain.other, seed))
      for gain in gains
    ]
    total = sum(sign * (winner - loser) for winner, loser in pairs)
    if not math.isnan(total):
      sums.append(total)
      losers.append(pairs[0][1])
  if not sums:
    return None, None
  found = tables.estimate(sums)
  return found, 100 * found.mean / (sum(losers) / len(losers))


def _text(gains, found):
  estimate, percent = found
  if estimate is None:
    return 'not run'
  winner, loser, column, other = gains[0]
  name = f'{winner} over {loser}' + f', {column}' * bool(column)
  if winner == loser:
    name = f'{column} over {other}'
  if len(gains) > 1:
    name = 'difference of gains'
  return f'{name}: {estimate} ({percent:+.2f} %)'


def verdict(estimates: Iterable[tables.Estimate | None], equal: bool = False) -> str:
  """'holds', 'reversed', 'within chance' or a reason why there is no verdict."""
  lows, highs = [], []
  for estimate in estimates:
    if estimate is None:
      return 'not run'
    if estimate.low is None or estimate.high is None:
      return 'too few seeds'
    lows.append(estimate.low)
    highs.append(estimate.high)
  if equal:
    level = max(lows) <= 0 <= min(highs)
    return 'holds' if level else 'does not hold'
  if min(lows) > 0:
    return 'holds'
  return 'reversed' if min(highs) < 0 else 'within chance'

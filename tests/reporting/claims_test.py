import pathlib

import pytest

from configs import common
from configs.papers import claims as of_papers
from tests.helpers import rating_record
from xdomain.reporting import claims, records


def places(**rmse):
  return claims.by_place(
    rating_record(row, seed, base + noise) | {'row': row, 'column': 'x'}
    for row, base in rmse.items()
    for seed, noise in enumerate((0.0, 0.1, 0.2))
  )


def test_a_claim_is_a_difference_over_seeds():
  found = places(A=1.0, B=2.0)
  estimate, percent = claims.estimate(claims.over('A', 'B'), 'rmse', found)
  assert estimate.mean == pytest.approx(1.0)
  assert estimate.low == pytest.approx(1.0) == estimate.high
  assert percent == pytest.approx(100 / 2.1)
  assert claims.verdict([estimate]) == 'holds'
  reverse, _ = claims.estimate(claims.over('B', 'A'), 'rmse', found)
  assert claims.verdict([estimate, reverse]) == 'reversed'
  assert claims.verdict([estimate], equal=True) == 'does not hold'
  assert claims.verdict([None, estimate]) == 'not run'
  few = {place: record for place, record in found.items() if place[2] < 2}
  early, _ = claims.estimate(claims.over('A', 'B'), 'rmse', few)
  assert claims.verdict([early]) == 'too few seeds'


def test_gains_add_up():
  found = places(A=1.0, B=2.0, C=1.5)
  sums = claims.over('A', 'B') + claims.over('C', 'B')
  claim = claims.Claim('P', 'Table 1', 'text', ('t',), 'rmse', (sums,))
  row = claims.row(claim, 't', found)
  assert row['ours'].startswith('difference of gains: 1.5000 (1.5000 to 1.5000)')
  assert (row['paper'], row['verdict']) == ('P, Table 1', 'holds')
  assert claims.row(claim, 't', {})['ours'] == 'not run'


def test_every_claim_names_a_place_in_a_paper_that_is_transcribed():
  for claim in of_papers.CLAIMS:
    printed = common.paper(claim.paper.lower())
    places = {*printed, *printed['text_claims']}
    kind, number = claim.where.split(' ')
    assert kind == 'section' or f'{kind.lower()}{number}' in places, claim


def test_every_claim_is_decided_by_cells_that_its_table_keeps():
  by_table = {}
  for claim in of_papers.CLAIMS:
    for table in claim.tables:
      if table not in by_table:
        kept = pathlib.Path('results') / table / 'records.jsonl.xz'
        by_table[table] = claims.by_place(records.read(kept))
      found = by_table[table]
      rows, columns = ({place[at] for place in found} for at in (0, 1))
      for gain in sum(claim.sums, ()):
        assert {gain.winner, gain.loser} <= rows
        assert {gain.column, gain.other} <= columns | {None}
        assert gain.column or len(columns) == 1
        at = gain.winner, gain.column or next(iter(columns)), 0
        assert records.value(found[at], claim.measure) is not None

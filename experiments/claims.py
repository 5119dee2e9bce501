r"""What the papers claim, beside what the tables in results/ say of it.

python -m experiments.claims

Writes `results/claims.md`. It trains nothing: `experiments.table` does.
"""

import pathlib
import sys

from absl import app, flags, logging

RESULTS = flags.DEFINE_string('results', 'results', 'Folders of tables.')


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from configs.papers import claims
  from xdomain import files
  from xdomain.reporting import report

  if not pathlib.Path(RESULTS.value).is_dir():
    print(f'error: there is no folder {RESULTS.value}', file=sys.stderr)
    sys.exit(1)
  records = {}
  rows = []
  for claim in claims.CLAIMS:
    for table in claim.tables:
      if table not in records:
        records[table] = _by_place(pathlib.Path(RESULTS.value) / table)
      if records[table] or len(claim.tables) == 1:
        rows.append(_row(claim, table, records[table]))
  path = pathlib.Path(RESULTS.value) / 'claims.md'
  files.write(path, f'{_INTRODUCTION}\n{report.markdown(rows)}\n')
  print(path.read_text('utf-8'))


_INTRODUCTION = """# What reproduces, what does not

Each claim is a sum of signed cells of our tables that ought to be above 0: of
RMSE, the loser's less the winner's; of HR@10 and NDCG@10, among sampled
negatives as in the papers and then in the full catalogue, the winner's less the
loser's. Given is its mean over seeds, on the same splits, its
95 % t-interval, and its share of the loser's value. A claim holds if all of
its intervals are above 0, is reversed where one is below, and is else within
chance (one of equality holds if all intervals include 0). The claims of DARec
are of Amazon pairs that no package index ships; here they are asked of the
MovieLens pair and of pairs of a user's kind.

```
python -m experiments.claims
```
"""


def _by_place(folder):
  """Records by row, column and seed."""
  from xdomain import files

  return {
    (record['row'], record['column'], record['seed']): record
    for record in files.read(folder / 'records.jsonl.xz')
  }


def _row(claim, table, records):
  from experiments import layout

  sums = [_sum(terms, claim.measure, records) for terms in claim.sums]
  return {
    'paper': f'{claim.paper}, {claim.where}',
    'claim': claim.text,
    'measure': layout.name_of(claim.measure),
    'printed': claim.printed or 'no number',
    'asked of': table,
    'ours': '<br>'.join(_text(terms, one) for terms, one in zip(claim.sums, sums)),
    'verdict': _verdict([estimate for estimate, _ in sums], claim.equal),
  }


def _sum(terms, measure, records):
  """The estimate of a signed sum over the seeds, and of its share."""
  from experiments import cells
  from xdomain.reporting import report

  columns = sorted({column for _, column, _ in records})
  places = [
    (sign, row, columns[0] if column is None else column)
    for sign, row, column in terms
    if columns
  ]
  seeds = sorted({seed for *_, seed in records})
  totals, losers = [], []
  for seed in seeds:
    found = [records.get((row, column, seed)) for _, row, column in places]
    values = [each and cells.value(each, measure) for each in found]
    if None not in values:
      totals.append(sum(p[0] * v for p, v in zip(places, values)))
      losers.append(values[1])
  if not totals:
    return None, None
  estimate = report.estimate(totals)
  return estimate, 100 * estimate.mean / (sum(losers) / len(losers))


def _text(terms, found):
  estimate, percent = found
  if estimate is None:
    return 'not run'
  (_, one, column), (_, other, at), *_ = terms
  name = f'{one} over {other}' + f', {column}' * bool(column)
  if one == other:
    name = f'{column} over {at}'
  if len(terms) > 2:
    name = 'difference of gains'
  return f'{name}: {estimate} ({percent:+.2f} %)'


def _verdict(estimates, equal=False):
  if None in estimates:
    return 'not run'
  if any(estimate.low is None for estimate in estimates):
    return 'one seed'
  if equal:
    level = all(estimate.low <= 0 <= estimate.high for estimate in estimates)
    return 'holds' if level else 'does not hold'
  if all(estimate.low > 0 for estimate in estimates):
    return 'holds'
  if any(estimate.high < 0 for estimate in estimates):
    return 'reversed'
  return 'within chance'


if __name__ == '__main__':
  app.run(main)

r"""Means over seeds of finished runs, as Markdown.

python -m experiments.summary runs/darec_item-seed*/ runs/autorec_item-seed*/
python -m experiments.summary results/sharedvae_figure3/records.jsonl.xz \
  --against=SharedVAE
python -m experiments.summary runs/bpr-seed*/ runs/ease-seed*/ --cutoffs=full
"""

import pathlib
import sys

from absl import app, flags, logging

CUTOFFS = flags.DEFINE_string(
  'cutoffs',
  '',
  'HR and NDCG at 5, 10, 20 and 50 instead: sampled, full or expected.',
)
AGAINST = flags.DEFINE_string('against', '', 'Only differences to this method.')


def main(argv):
  logging.set_verbosity(logging.WARNING)
  from xdomain import files
  from xdomain.reporting import report

  records = []
  for name in argv[1:]:
    path = pathlib.Path(name)
    path = path / 'records.jsonl' if path.is_dir() else path
    if not path.exists():
      print(f'error: {path} does not exist', file=sys.stderr)
      sys.exit(1)
    records += _named(files.read(path))
  if not records:
    print('error: no records; name run folders or files', file=sys.stderr)
    sys.exit(1)
  try:
    if CUTOFFS.value:
      tables = [report.at_cutoffs(records, CUTOFFS.value)]
    else:
      differences = report.differences(records, AGAINST.value)
      tables = [report.over_seeds(records), differences]
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)
  if not any(tables):
    print('error: none of these records is of a ranking', file=sys.stderr)
    sys.exit(1)
  print('\n\n'.join(report.markdown(rows) for rows in tables if rows))


def _named(records):
  """Records of a table under the names of their cells; others as they are."""
  several = len({record.get('column') for record in records}) > 1
  return [
    _of_cell(record, several) if 'row' in record else record for record in records
  ]


def _of_cell(record, several):
  name = record['row'] + f', {record["column"]}' * several
  # Of a cell, some seeds may have been members of a sweep and others not.
  config = record['config'] | {'name': name, 'hyper': record['hyper']}
  return record | {'name': name, 'config': config}


if __name__ == '__main__':
  app.run(main)

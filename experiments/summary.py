r"""Prints means over seeds of finished runs, and differences between methods.

python -m experiments.summary runs/darec_item-seed*/ runs/autorec_item-seed*/
python -m experiments.summary results/sharedvae_figure3/records.jsonl.xz \
  --against=SharedVAE
python -m experiments.summary runs/bpr-seed*/ runs/ease-seed*/ --cutoffs=full
"""

from absl import app, flags

from experiments import program

CUTOFFS = flags.DEFINE_string(
  'cutoffs',
  '',
  'Print HR and NDCG at every cut-off instead: sampled, full or expected.',
)
AGAINST = flags.DEFINE_string('against', '', 'Print differences from this method only.')


def main(argv: list[str]) -> None:
  with program.running():
    _summarise(argv[1:])


def _summarise(paths):
  from xdomain.reporting import records, render, tables

  found = [
    named for path in paths for named in records.named_by_cell(records.read_run(path))
  ]
  if not found:
    raise records.RecordError('no records; give run folders or files of records')
  if CUTOFFS.value:
    several = [tables.at_cutoffs(found, CUTOFFS.value)]
  else:
    several = tables.over_seeds(found) + tables.differences(found, AGAINST.value)
  if not any(several):
    raise records.RecordError('none of these records is of a ranking')
  print('\n\n'.join(map(render.markdown, filter(None, several))))


if __name__ == '__main__':
  app.run(main)

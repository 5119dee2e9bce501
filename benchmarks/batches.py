r"""The quality of BPR at larger batches.

python -m benchmarks.batches
python -m benchmarks.batches --batches=256,1024 --rates=0.02 --workdir=/tmp/batches

A step of BPR sums the gradients of its triples, so that a batch that meets an item
often moves it far at once. BPR is trained on the MovieLens pair with each batch and
learning rate; the rate and the epoch of a batch are chosen on validation items.
How often a batch meets an item on average compares catalogues of different sizes.
"""

import pathlib

from absl import app, flags, logging

from benchmarks import numbers

BATCHES = numbers.define('batches', [256, 1024, 4096, 16384], 'Sizes.')
RATES = numbers.define('rates', [0.02, 0.01, 0.005, 0.002], 'Of each batch.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/batches', 'Where run folders go.')
MEASURES = 'sampled ndcg@10', 'full ndcg@10'
COLUMNS = (
  'batch',
  'times an item is met',
  'learning rate',
  'epoch',
  'validation NDCG@10',
  'NDCG@10',
  'full NDCG@10',
)


def row(batch: int) -> list[str]:
  """The cells of a batch: its best learning rate on validation items."""
  from configs import bpr
  from xdomain.reporting import records as records_lib
  from xdomain.runs import prepare, run, store
  from xdomain.runs import spec as specs

  config = bpr.get_config()
  config.name = f'bpr_{batch}'
  config.model.batch = batch
  config.sweep.hyper.lr = tuple(RATES.value)
  spec = specs.from_config(config)
  prepared = prepare.prepare(spec, lambda line: None)
  folder = store.folder_of(spec, pathlib.Path(WORKDIR.value))
  records = run.run(spec, prepared, folder, watch=lambda report: None)
  finite = [record for record in records if not record['failed']]
  best = max(finite, key=lambda record: record['valid_ndcg@10'])
  test = [records_lib.values([best], measure)[0] for measure in MEASURES]
  measures = [f'{value:.4f}' for value in (best['valid_ndcg@10'], *test)]
  per_item = f'{2 * batch / prepared.sizes.target:.2f}'
  rate, epoch = f'{best["hyper"]["lr"]:g}', f'{best["epoch"]}'
  return [f'{batch:,}', per_item, rate, epoch, *measures]


def main(argv):
  del argv
  from xdomain.reporting import render

  logging.set_verbosity(logging.WARNING)
  print(render.markdown_row(COLUMNS))
  print(render.markdown_row(['---'] * len(COLUMNS)))
  for batch in BATCHES.value:
    print(render.markdown_row(row(batch)), flush=True)


if __name__ == '__main__':
  app.run(main)

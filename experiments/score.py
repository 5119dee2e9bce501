r"""Measures another system's predictions on a split of ours.

python -m experiments.score --config=shared_vae --predictions=theirs.csv
python -m experiments.score --run=runs/ease-seed0-... --predictions=theirs.csv
python -m experiments.score --source=films.csv --target=books.csv \
  --protocol=rating --data=rating=stars --predictions=theirs.csv

A row of the file is a user and an item of the target with a score or a rank, or lists
in order. With `--run` the difference to that run is tested; `experiments.split` writes
the split for the other system.
"""

import pathlib

from absl import app, flags

from experiments import arguments, program, split_flags

PREDICTIONS = flags.DEFINE_string(
  'predictions', None, 'A CSV, TSV or Parquet file.', required=True
)
OUT = flags.DEFINE_string('out', None, 'A .json file for the measures.')


def main(argv: list[str]) -> None:
  del argv
  from xdomain.reporting import terminal

  with program.running():
    _score(terminal.Terminal())


def _score(display):
  from xdomain import files
  from xdomain.runs import prepare, protocols, score, store

  spec = split_flags.spec()
  dataset, split = prepare.split_of(spec, display.say)
  display.data(dataset)
  dataset = split.dataset or dataset
  scored, unknown = score.read(PREDICTIONS.value, dataset)
  if unknown:
    display.say(f'{unknown:,} rows are of users or items that the data does not have')
  answer = score.answer(spec, dataset, split, scored)
  display.say(str(protocols.Measures(answer.measures['test'])))
  run = split_flags.RUN.value
  if run:
    ours = store.test_of(store.find_run(run))
    arrays = answer.shared | answer.own
    for row in protocols.of(spec).differences(arrays, ours):
      display.difference(PREDICTIONS.value, spec.name, *row)
  if OUT.value:
    files.write_json(pathlib.Path(OUT.value), answer.measures)
    display.say(f'written to {OUT.value}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

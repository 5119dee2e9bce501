r"""Trains methods on two files, and shows one table with paired intervals.

python -m experiments.compare --source=films.csv --target=books.csv \
  --methods=ials,ease,shared_vae
python -m experiments.compare --source=films.csv --target=books.csv \
  --methods=darec_item,autorec_item --protocol=rating --data=rating=stars
python -m experiments.compare --source=films.csv --target=books.csv \
  --methods=ials,ease --final=model

`--final` trains the method that is best on validation on all interactions, and saves
it as an artefact that `experiments.recommend` takes.
"""

from absl import app, flags

from experiments import arguments, program

SOURCE = flags.DEFINE_string('source', None, 'The file of the source.', required=True)
TARGET = flags.DEFINE_string('target', None, 'The file of the target.', required=True)
METHODS = flags.DEFINE_list(
  'methods', ['item_pop', 'ease', 'ials'], 'Methods, such as ials or darec_user.'
)
PROTOCOL = flags.DEFINE_enum(
  'protocol',
  'leave_one_out',
  ['leave_one_out', 'leave_last_out', 'time_split', 'cold_start']
  + ['time_cold_start', 'partial', 'rating', 'rating_by_time'],
  'What is held out: a target item of each user, users, or ratings to predict.',
)
DATA = flags.DEFINE_multi_string(
  'data', [], 'An option of the data, such as --data=rating=stars.'
)
SEED = flags.DEFINE_integer('seed', 0, 'Seed of the split and of the training.')
EPOCHS = flags.DEFINE_integer(
  'epochs', None, 'The most epochs of each stage.', lower_bound=1
)
FINAL = flags.DEFINE_string(
  'final', None, 'A folder for the best method, trained on all interactions.'
)


def main(argv: list[str]) -> None:
  del argv
  from xdomain.reporting import terminal

  with program.running(), terminal.opened() as display:
    _compare(display)


def _compare(display):
  import xdomain as xd
  from xdomain.runs import protocols

  pair = xd.load_pair(
    SOURCE.value, TARGET.value, say=display.say, **arguments.options(DATA.value)
  )
  display.data(pair)
  protocol = protocols.PROTOCOLS[PROTOCOL.value]
  split = protocol.split(pair, SEED.value)
  names = list(dict.fromkeys(METHODS.value))

  def watch(method):
    return display.training(method, protocol.value, names.index(method), len(names))

  found = xd.compare(split, names, watch=watch, epochs=EPOCHS.value)
  display.table(found.rows)
  display.say(
    f'{"lower" if protocol.rates else "higher"} is better; validation chose'
    f' {found.best}; intervals are 95 %, paired, over users'
  )
  for note in found.notes:
    display.say(note)
  if FINAL.value:
    best = found.fits[found.best]
    final = xd.fit(found.best, pair, epochs=best.epoch, seed=SEED.value)
    final.save(FINAL.value)
    display.say(f'{found.best}, trained on all interactions, is in {FINAL.value}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)

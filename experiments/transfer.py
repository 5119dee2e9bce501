r"""Shows where one run is better than another: by source history, activity, popularity.

python -m experiments.transfer --run=shared_vae --against=shared_vae_single \
  --out=results/transfer

A run is given by its folder, or by its name: the newest of that name. Both runs are of
one split. With the second as the same method on the target alone, the plot by source
history shows where transfer helps.
"""

import pathlib

from absl import app, flags

from experiments import arguments, program

RUN = flags.DEFINE_string('run', None, 'A run, by its folder or name.', required=True)
AGAINST = flags.DEFINE_string('against', None, 'Another run.', required=True)
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where runs are found by their names.')
BY = flags.DEFINE_enum(
  'by', 'history', ['history', 'activity', 'popularity'], 'What makes the buckets.'
)
OUT = flags.DEFINE_string('out', None, 'A folder for the table and the plot.')


def main(argv: list[str]) -> None:
  del argv
  from xdomain.reporting import terminal

  with program.running():
    _show(terminal.Terminal())


def _show(display):
  from xdomain import files
  from xdomain.reporting import by_bucket, render
  from xdomain.runs import protocols, store
  from xdomain.runs import spec as specs

  runs = [store.find_run(flag.value, WORKDIR.value) for flag in (RUN, AGAINST)]
  one, other = map(store.read_spec, runs)
  if not specs.same_split(one, other):
    raise specs.SpecError('the two runs are not of one split')
  tests = [store.test_of(run) for run in runs]
  if BY.value not in tests[0]:
    raise specs.SpecError(f'{runs[0]} was made before its test had {BY.value}')
  rates = protocols.of(one).rates
  measure = 'RMSE' if rates else 'full NDCG@10'
  rows = by_bucket.differences(tests[0], tests[1], BY.value)
  if not rows:
    raise specs.SpecError(f'no bucket has {by_bucket.FEWEST} users')
  shown = [
    {by_bucket.BY[BY.value]: row['bucket'], 'queries': f'{row["queries"]:,}'}
    | {'users': f'{row["users"]:,}', one.name: f'{row["ours"]:.4f}'}
    | {f'{other.name} (other)': f'{row["theirs"]:.4f}'}
    | {'difference': '{difference:+.4f} ({low:+.4f} to {high:+.4f})'.format(**row)}
    for row in rows
  ]
  display.say(f'{measure} of {one.name} less that of {other.name}')
  display.table(shown)
  if OUT.value:
    folder = pathlib.Path(OUT.value)
    title = f'# {measure} of {one.name} less that of {other.name}'
    files.write(folder / 'table.md', f'{title}\n\n{render.markdown(shown)}\n')
    by_bucket.save(rows, BY.value, measure, folder, display.say)
    display.say(f'written to {folder}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

r"""Writes a trained method as a portable program, which needs jax and numpy alone.

python -m experiments.export --run=books-for-film-lovers --out=exported
python -m experiments.export --run=shared_vae_cold --out=exported --top=50

`--run` is a run's folder or its name (the newest of that name), or an artefact. An
export that `--out` holds is replaced at once, so that a service can be sent SIGHUP.
"""

from absl import app, flags

from experiments import arguments, program

RUN = flags.DEFINE_string(
  'run', None, 'A run, by its folder or its name, or an artefact.', required=True
)
OUT = flags.DEFINE_string('out', None, 'The folder that is written.', required=True)
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where runs are found by their names.')
NAME = flags.DEFINE_string(
  'name', None, 'The name of the model in a service; by default that of the run.'
)
TOP = flags.DEFINE_integer(
  'top', 100, 'The largest number of items of a recommendation.', lower_bound=1
)


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    from xdomain import api
    from xdomain.runs import store
    from xdomain.serving import export

    model = api.load(store.find_trained(RUN.value, WORKDIR.value))
    about = export.save(OUT.value, model, top=TOP.value, name=NAME.value)
  whom = 'known and new users' if about['folds_in'] else 'known users only'
  print(
    f'{about["name"]} is in {OUT.value}: {whom}, up to {about["top"]} items, for'
    f' {", ".join(about["platforms"])}'
  )
  if not about['folds_in']:
    print(f'{about["method"]} cannot score a user whom it was not trained on')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)

r"""Writes the split of a run or of a config as files that others can read.

python -m experiments.split --config=shared_vae --out=split
python -m experiments.split --run=runs/ease-seed0-... --out=split --form=recbole
python -m experiments.split --config=darec:item --seed=3 --out=split --form=lenskit

The form 'csv' is the one that `--config=...:given` reads.
"""

from absl import app, flags

from experiments import arguments, program, split_flags

OUT = flags.DEFINE_string('out', None, 'The folder for the files.', required=True)
FORM = flags.DEFINE_enum('form', 'csv', ['csv', 'recbole', 'lenskit'], 'Of the files.')


def main(argv: list[str]) -> None:
  del argv
  from xdomain.reporting import terminal

  with program.running():
    from xdomain.data import given
    from xdomain.runs import prepare

    with terminal.opened() as display:
      dataset, split = prepare.split_of(split_flags.spec(), display.say)
      for path in given.write(split, dataset, OUT.value, FORM.value):
        display.say(f'written: {path}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

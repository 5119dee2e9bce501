r"""Audits a pair and a split of it: leaks, twins, duplicates, times, popularity.

python -m experiments.audit --config=shared_vae
python -m experiments.audit --source=films.csv --target=books.csv --data=rating=stars
python -m experiments.audit --config=shared_vae:cold --seed=3 --out=audit.json

The data and the protocol are those of a config, or two files and `--protocol`. The exit
status is 3 where a finding speaks against claims made on the data, else 0.
"""

import json
import pathlib
import sys

from absl import app, flags

import configs
from experiments import arguments

CONFIG = flags.DEFINE_string('config', None, 'A config, whose data is audited.')
SOURCE = flags.DEFINE_string('source', None, 'The file of the source.')
TARGET = flags.DEFINE_string('target', None, 'The file of the target.')
DATA = flags.DEFINE_multi_string(
  'data', [], 'An option of the data, such as --data=rating=stars.'
)
PROTOCOL = flags.DEFINE_string('protocol', None, 'What is held out.')
SEED = flags.DEFINE_integer('seed', 0, 'Of the split.')
OUT = flags.DEFINE_string('out', None, 'A .md or .json file for the audit.')
FAULT = 3  # the exit status


def main(argv):
  del argv
  with arguments.program():
    from xdomain.reporting import terminal

    found = _audit(terminal.Terminal())
  sys.exit(FAULT if found.faults else 0)


def _audit(display):
  from xdomain import files
  from xdomain.data import audit
  from xdomain.reporting import audits
  from xdomain.runs import prepare
  from xdomain.runs import spec as specs

  if OUT.value and pathlib.Path(OUT.value).suffix not in ('.md', '.json'):
    raise specs.SpecError(f'--out={OUT.value}: it can be written as .md or .json')
  dataset, split = prepare.split_of(_spec(), display.say)
  display.data(dataset)
  found = audit.audit(dataset, split)
  display.table(audits.rows(found))
  for source, target, alike in found.twins:
    display.say(f'twins: {source} and {target}, Jaccard {alike:.3f}')
  for of, counts in found.buckets.items():
    display.say(f'{of}: {", ".join(f"{k}: {n:,}" for k, n in counts.items() if n)}')
  display.say(f'{len(found.faults)} faults')
  if OUT.value:
    is_json = OUT.value.endswith('.json')
    text = json.dumps(found.as_json(), indent=2) if is_json else audits.markdown(found)
    files.write(OUT.value, text)
    display.say(f'written to {OUT.value}')
  return found


def _spec():
  """The data and the protocol that are named, as the spec of a run."""
  import dataclasses

  from xdomain.data import sources
  from xdomain.runs import spec as specs

  if bool(CONFIG.value) == bool(SOURCE.value and TARGET.value):
    raise specs.SpecError('name a config, or the files --source and --target')
  options = arguments.options(DATA.value)
  if CONFIG.value:
    try:
      spec = specs.from_config(configs.load(CONFIG.value))
    except ValueError as error:
      raise specs.SpecError(str(error)) from None
  else:
    protocol = PROTOCOL.value or 'leave_one_out'
    kind = 'tables' if 'rating' in protocol else 'tables_implicit'
    data = sources.defaults(kind) | dict(source=SOURCE.value, target=TARGET.value)
    spec = specs.from_config(
      dict(name='audit', method='bias', model={}, hyper={}, data=data, split={})
      | dict(protocol=protocol)
    )
  if PROTOCOL.value and PROTOCOL.value != spec.protocol:
    spec = dataclasses.replace(spec, protocol=PROTOCOL.value, split={})
  return dataclasses.replace(spec, data=spec.data | options, seed=SEED.value)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

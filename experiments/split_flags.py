"""Flags that name a split: that of a run, of a config, or of two files."""

import dataclasses

from absl import flags

import configs
from experiments import arguments

RUN = flags.DEFINE_string('run', None, 'A run, by its folder or its name in runs/.')
CONFIG = flags.DEFINE_string('config', None, 'A config.')
SOURCE = flags.DEFINE_string('source', None, 'The file of the source.')
TARGET = flags.DEFINE_string('target', None, 'The file of the target.')
DATA = flags.DEFINE_multi_string(
  'data', [], 'An option of the data, such as --data=rating=stars.'
)
PROTOCOL = flags.DEFINE_string('protocol', None, 'What is held out.')
SEED = flags.DEFINE_integer('seed', None, 'Of the split.')


def spec():
  """The data, the protocol and the seed that are named, as the spec of a run.

  Raises:
    SpecError: none is named, or several are.
  """
  from xdomain.data import sources
  from xdomain.runs import protocols, store
  from xdomain.runs import spec as specs

  named = (RUN.value, CONFIG.value, SOURCE.value and TARGET.value)
  if sum(map(bool, named)) != 1:
    raise specs.SpecError('name a run, a config, or the files --source and --target')
  if RUN.value:
    found = store.read_spec(store.find_run(RUN.value))
  elif CONFIG.value:
    try:
      found = specs.from_config(configs.load(CONFIG.value))
    except ValueError as error:
      raise specs.SpecError(str(error)) from None
  else:
    protocol = PROTOCOL.value or 'leave_one_out'
    specs.check_name('protocol', protocol, protocols.PROTOCOLS)
    rates = protocols.PROTOCOLS[protocol].rates
    data = sources.defaults('tables' if rates else 'tables_implicit')
    data |= dict(source=SOURCE.value, target=TARGET.value)
    fields = dict(name='split', method='bias', model={}, hyper={}, split={})
    found = specs.from_config(fields | dict(data=data, protocol=protocol))
  if PROTOCOL.value and PROTOCOL.value != found.protocol:
    found = dataclasses.replace(found, protocol=PROTOCOL.value, split={})
  if SEED.value is not None:
    found = dataclasses.replace(found, seed=SEED.value)
  return dataclasses.replace(found, data=found.data | arguments.options(DATA.value))

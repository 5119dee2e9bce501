"""Lists the configs, and the options of one.

python -m experiments.configs
python -m experiments.configs --config=darec:item
"""

import ast

from absl import app, flags

import configs
from experiments import arguments, output

NAME = flags.DEFINE_string('config', None, 'A config, to list its fields and values.')


def main(argv: list[str]) -> None:
  del argv
  with output.reader_may_stop():
    _list()


def _list():
  if NAME.value:
    config = configs.load(NAME.value)
    for name, value in _fields(config):
      print(f'--config.{name}={value!r}')
    return
  for path in configs.files():
    document = ast.get_docstring(ast.parse(path.read_text('utf-8'))) or ''
    print(f'{path.stem:20} {document.splitlines()[0] if document else ""}')


def _fields(config, before=''):
  """`(dotted name, value)` of all fields but the swept and the searched."""
  for name, value in config.items():
    if name in ('sweep', 'search', 'beside', 'methods', 'on', 'plain', 'paper'):
      continue
    if hasattr(value, 'items'):
      yield from _fields(value, f'{before}{name}.')
    else:
      yield f'{before}{name}', value


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

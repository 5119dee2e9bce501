"""The console script: `xdomain main --config=darec:item` runs `experiments.main`.

The commands work from any folder: a config is looked up in the working directory, then
in the installed `configs`.
"""

import runpy
import sys

from experiments import output

COMMANDS = {
  'main': 'trains the method of a config, and those beside it',
  'compare': 'trains several methods on two files, and shows one table',
  'table': 'fills a table or a figure of the papers',
  'tune': 'searches hyper-parameters on validation data',
  'audit': 'looks for leaks between the domains and the folds of a pair',
  'split': 'writes a split as files, also for RecBole and LensKit',
  'score': "measures another system's predictions on a split of ours",
  'transfer': 'shows where one run is better than another, by source history',
  'recommend': 'recommends items with a trained method',
  'export': 'writes a trained method as a portable program',
  'serve': 'serves trained methods over HTTP, with a page',
  'summary': 'shows means over the seeds of runs',
  'claims': "shows the papers' claims beside the tables",
  'configs': 'lists the configs and their arguments',
}


def main() -> None:
  """Runs the command that the first word names."""
  words = sys.argv[1:]
  if not words or words[0] in ('-h', '--help', 'help'):
    with output.reader_may_stop():
      print('xdomain COMMAND [--flag=value ...]; xdomain COMMAND --help lists flags\n')
      for name, text in COMMANDS.items():
        print(f'  {name:10} {text}')
    sys.exit(0 if words else 2)
  if words[0] not in COMMANDS:
    from xdomain import wording

    print(
      f'error: {words[0]!r} is no command{wording.instead(words[0], COMMANDS)}',
      file=sys.stderr,
    )
    sys.exit(2)
  sys.argv = [f'xdomain {words[0]}', *words[1:]]
  runpy.run_module(f'experiments.{words[0]}', run_name='__main__')


if __name__ == '__main__':
  main()

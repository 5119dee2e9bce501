r"""Serves exported methods over HTTP, with a page that shows them.

python -m experiments.serve --artefact=exported
python -m experiments.serve --artefact=exported,ease --port=8000 --admin_port=8001
python -m experiments.serve --demo

`--artefact` takes exports, and artefacts or runs, which are exported first. SIGHUP, or
`POST /swap` on the admin port, loads them again without losing a request; SIGTERM ends
the service after the last request.
"""

import logging
import sys
import time
import webbrowser

from absl import app, flags

from experiments import arguments, program

ARTEFACT = flags.DEFINE_list('artefact', [], 'Folders of exports, artefacts or runs.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where runs are found by their names.')
HOST = flags.DEFINE_string('host', '127.0.0.1', 'The address to listen on.')
PORT = flags.DEFINE_integer('port', 8000, 'The port; 0 is any free one.', 0, 65535)
ADMIN_PORT = flags.DEFINE_integer(
  'admin_port', None, 'The loopback port of POST /swap.', 0, 65535
)
WINDOW = flags.DEFINE_float(
  'window', 2, 'Milliseconds in which concurrent requests gather.', 0, 1000
)
TOKEN_FILE = flags.DEFINE_string(
  'token_file', None, 'A file with the bearer token of requests; or XDOMAIN_TOKEN.'
)
DEMO = flags.DEFINE_boolean(
  'demo', False, 'Train SharedVAE and EASE on MovieLens, once, and open the page.'
)
BROWSER = flags.DEFINE_boolean('browser', True, 'Open the page of the demo.')


def main(argv: list[str]) -> None:
  del argv
  begin = time.monotonic()
  from xdomain import programs
  from xdomain.serving import exports

  logging.getLogger('jax').setLevel(logging.WARNING)  # It logs missing backends.
  if not DEMO.value and not ARTEFACT.value:
    print('error: --artefact or --demo is missing', file=sys.stderr)
    sys.exit(2)
  names = ARTEFACT.value
  if DEMO.value or not all(map(exports.is_export, names)):
    with program.running():
      if DEMO.value:
        from xdomain.serving import demo

        names = [*map(str, demo.artefacts(_say)), *names]
      for name in names:
        exports.find(name, WORKDIR.value, _say)
  # A service of exports imports no training code, which would double its start.
  programs.compile_quickly()
  programs.keep()
  try:
    _serve(names, begin)
  except (ValueError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)


def _serve(names, begin):
  try:
    from xdomain.serving import exports, server, service
  except ImportError as error:
    raise ValueError(
      f'{error.name} is missing: pip install starlette uvicorn'
    ) from None

  def find(name):
    return exports.find(name, WORKDIR.value, _say)

  def ready(address, admin):
    seconds = time.monotonic() - begin
    print(f'{address} answers after {seconds:.1f} s', flush=True)
    if admin:
      print(f'{admin}/swap loads models again', flush=True)
    if DEMO.value and BROWSER.value:
      webbrowser.open(address)

  token = service.read_token(TOKEN_FILE.value)
  made = service.Service(names, find=find, window=WINDOW.value / 1000, token=token)
  at = HOST.value, PORT.value, ADMIN_PORT.value
  server.run(made, *at, ready=ready)


def _say(line):
  print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)

"""Runs the service until a signal ends it."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from xdomain.serving import service as service_lib

PATIENCE = 30  # Seconds in which requests have to end at a shutdown.
ON_THEIR_WAY = 0.2  # Seconds in which requests of open connections are still read.


class _Server(uvicorn.Server):
  """A uvicorn server that leaves signals to `run` and resets no connection."""

  @contextlib.contextmanager
  def capture_signals(self):
    yield

  async def shutdown(self, sockets: Sequence[socket.socket] = ()) -> None:
    """Answers all connections that the system has made, then ends.

    uvicorn alone resets those that it has not accepted or read from.
    """
    waiting = []
    for server, listener in zip(self.servers, sockets):
      with contextlib.suppress(BlockingIOError):
        while True:
          waiting.append(listener.accept()[0])
      server.close()
    loop = asyncio.get_running_loop()
    for each in waiting:
      await loop.connect_accepted_socket(self._protocol, each)
    await asyncio.sleep(ON_THEIR_WAY)
    await super().shutdown(list(sockets))

  def _protocol(self):
    return self.config.http_protocol_class(
      config=self.config,  # pyright: ignore[reportCallIssue]
      server_state=self.server_state,  # pyright: ignore[reportCallIssue]
      app_state={},  # pyright: ignore[reportCallIssue]
    )


def run(
  service: service_lib.Service,
  host: str = '127.0.0.1',
  port: int = 8000,
  admin_port: int | None = None,
  *,
  ready: Callable[[str, str | None], object],
) -> None:
  """Serves until SIGTERM or SIGINT; SIGHUP loads all models again.

  Args:
    service: the models.
    host: of the public endpoints.
    port: 0 is any free one.
    admin_port: of `POST /swap`, on the loopback device; None opens no such port.
    ready: called with the addresses of both ports once they accept requests.

  Raises:
    OSError: a port is taken.
  """
  wanted = [(service_lib.application(service), host, port)]
  if admin_port is not None:
    admin = service_lib.admin_application(service)
    wanted.append((admin, '127.0.0.1', admin_port))
  sockets = [_listening(host, port) for _, host, port in wanted]
  servers = [_Server(_config(app)) for app, _, _ in wanted]
  with asyncio.Runner(loop_factory=_loop_factory()) as runner:
    addresses = [*map(_address, sockets), None]
    runner.run(_serve(service, servers, sockets, lambda: ready(*addresses[:2])))


def _config(app):
  return uvicorn.Config(
    app,
    log_level='error',  # Each malformed request would be a warning.
    access_log=False,
    server_header=False,
    proxy_headers=False,
    lifespan='off',
    ws='none',
    timeout_graceful_shutdown=PATIENCE,
  )


def _listening(host, port):
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family, backlog=2048)
  except OSError as error:
    raise OSError(error.errno, f'{host}:{port}: {error.strerror}') from None


def _address(listener):
  host, port, *_ = listener.getsockname()
  return f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'


def _loop_factory():
  try:
    import uvloop
  except ImportError:  # It has no Windows.
    return None
  return uvloop.new_event_loop


async def _serve(service, servers, sockets, ready):
  swaps = set()  # asyncio itself holds tasks weakly.

  def end():
    for server in servers:
      server.should_exit = True

  def swap():
    task = asyncio.create_task(service.swap_all())
    swaps.add(task)
    task.add_done_callback(swaps.discard)

  if sys.platform != 'win32':
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
      loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, swap)
  ready()
  await asyncio.gather(
    *(server.serve([listener]) for server, listener in zip(servers, sockets))
  )

"""The HTTP service of exported methods, which can be swapped while it runs.

Starlette and uvicorn rather than FastAPI: there are five endpoints, whose checks list
unknown ids and name the nearest field, and a framework of types would add its own
dependencies and time to each request.
"""

import asyncio
import functools
import hmac
import importlib.resources
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import jax
from starlette import applications, exceptions, requests, responses, routing

from xdomain.serving import asking, batching, metrics, openapi, portable
from xdomain.serving.asking import Refused

LOG = logging.getLogger(__name__)
LARGEST = 1 << 18  # Bytes of a body.
PATIENCE = 10  # Seconds in which a body has to arrive.
WINDOW = 0.002  # Seconds in which queries gather while there are several callers.
HEADERS = {
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline';"
  " script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none';"
  " form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}


class Served(NamedTuple):
  """One version of a model, and the queries that wait for it."""

  folder: str | pathlib.Path  # as it was given
  model: portable.Portable
  batcher: batching.Batcher


class Service:
  """The served models by name, and the state that all endpoints share."""

  def __init__(
    self,
    folders: Sequence[str | pathlib.Path],
    *,
    find: Callable[[str | pathlib.Path], str | pathlib.Path] = pathlib.Path,
    window: float = WINDOW,
    token: str | None = None,
  ):
    """Loads exports and compiles their programs.

    Args:
      folders: of exports; the first is the default model of a request.
      find: maps each of `folders` to the folder of an export, at each load.
      window: seconds in which concurrent queries gather.
      token: the bearer token of all requests but those to the open pages.

    Raises:
      ExportError: a folder holds no export, or two exports have the same name.
    """
    self.token, self._window, self._find = token, window, find
    self._pool = futures.ThreadPoolExecutor(2, 'answer')
    self._swapping = asyncio.Lock()
    self.requests = metrics.Counter(
      'xdomain_requests_total', 'Requests by path and status.'
    )
    self.seconds = metrics.Histogram(
      'xdomain_request_seconds', 'Seconds until a response.', metrics.SECONDS
    )
    self.batches = metrics.Histogram(
      'xdomain_batch_size', 'Queries in a batch.', metrics.SIZES
    )
    self.swaps = metrics.Counter('xdomain_swaps_total', 'Models loaded while serving.')
    self.served: dict[str, Served] = {}
    for folder in folders:
      one = self._load(folder)
      if one.model.name in self.served:
        raise portable.ExportError(f'two exports have the name {one.model.name!r}')
      self.served[one.model.name] = one

  def _load(self, folder) -> Served:
    """The export in a folder, with its programs compiled."""
    model = portable.load(self._find(folder))
    model.warm()
    observe = functools.partial(self.batches.add, model=model.name)
    batcher = batching.Batcher(model, self._pool, self._window, observe)
    return Served(folder, model, batcher)

  async def swap(self, name: str, folder: str | None = None) -> Served:
    """Loads a model again, from its folder or another, while the old one serves.

    Queries that wait for the old version stay with it; later ones go to the new one.
    Only one swap runs at a time.

    Args:
      name: the model to replace.
      folder: of the new export; by default the folder of the old one.

    Raises:
      ExportError: the folder has no intact export of that name; the old one stays.
    """
    async with self._swapping:
      old = self.served[name]
      loop = asyncio.get_running_loop()
      try:
        one = await loop.run_in_executor(None, self._load, folder or old.folder)
      except portable.ExportError:
        raise
      except Exception as error:  # A program that jax cannot compile, say.
        LOG.error('%s: the new version cannot be loaded: %s', name, error)
        text = 'the new version cannot be loaded; the log of the service says why'
        raise portable.ExportError(text) from error
      if one.model.name != name:
        raise portable.ExportError(
          f'the export has the name {one.model.name!r}, and {name!r} is to be swapped'
        )
      self.served[name] = one
      jax.clear_caches()  # Of the old version; models hold their own programs.
      self.swaps.add(model=name)
      LOG.info('%s: version %s', name, one.model.version)
      return one

  async def swap_all(self) -> None:
    """Loads all models again; a model that cannot be loaded stays as it is."""
    for name in list(self.served):
      try:
        await self.swap(name)
      except portable.ExportError as error:
        LOG.error('%s stays as it is: %s', name, error)

  def of(self, name: str | None) -> Served:
    """The served version of a model; the first model without a name."""
    if name is None:
      return next(iter(self.served.values()))
    if name not in self.served:
      raise Refused(404, 'the model is unknown', models=list(self.served))
    return self.served[name]

  # Endpoints

  async def recommend(self, request: requests.Request) -> responses.Response:
    """`POST /recommend`: the best items for a user, or for a new user by items."""
    body = await read(request)
    largest = max(one.model.lengths[-1] for one in self.served.values())
    top = max(one.model.top for one in self.served.values())
    ask = asking.ask(body, largest, top)
    one = self.of(ask.model)
    asking.whole(ask.k, 'k', one.model.top)
    query = _query(one.model, ask)
    return await self._answer(one, query, ask.k, ask.explain)

  async def similar(self, request: requests.Request) -> responses.Response:
    """`GET /similar`: target items for a new user with one item."""
    given = _parameters(request, ('item', 'domain', 'k', 'model'))
    one = self.of(given.get('model'))
    k = asking.whole(given.get('k', '10'), 'k', one.model.top)
    item = asking.name(given.get('item'), 'item')
    domain = _domain(given.get('domain', 'target'))
    query = _query(one.model, asking.Ask()._replace(**{domain: {item: None}}))
    return await self._answer(one, query, k, False)

  async def _answer(self, one, query, k, explain):
    try:
      items, scores = await one.batcher.best(query)
    except batching.Busy:
      raise Refused(503, 'too many requests wait; try again') from None
    there = [at for at in range(min(k, len(items))) if scores[at] > -float('inf')]
    names = one.model.target
    rows: list[dict[str, Any]] = [
      {'item': names[int(items[at])], 'score': float(scores[at])} for at in there
    ]
    if explain and there:
      whys = await self._why(one, query, items[there])
      for row, why in zip(rows, whys):
        row['why'] = [
          {
            'item': getattr(one.model, domain)[at],
            'domain': domain,
            'contribution': score,
          }
          for domain, at, score in why
        ]
    return _json({'model': one.model.name, 'version': one.model.version, 'items': rows})

  async def _why(self, one, query, items):
    try:
      loop = asyncio.get_running_loop()
      return await loop.run_in_executor(self._pool, one.model.why, query, items)
    except portable.ExportError as error:
      raise Refused(400, str(error)) from None

  async def items(self, request: requests.Request) -> responses.Response:
    """`GET /items`: items whose ids contain a text, the popular ones first."""
    given = _parameters(request, ('q', 'domain', 'limit', 'model'))
    one = self.of(given.get('model'))
    limit = asking.whole(given.get('limit', '10'), 'limit', 100)
    domain = _domain(given.get('domain', 'source'))
    names = getattr(one.model, domain)
    found = await asyncio.get_running_loop().run_in_executor(
      None, names.search, given.get('q', '')[:200], one.model.weight[domain], limit
    )
    return _json({'items': [names[at] for at in found]})

  async def health(self, request: requests.Request) -> responses.Response:
    """`GET /health`: the models that are served."""
    del request
    models = [_about(one.model) for one in self.served.values()]
    return _json({'status': 'ok', 'models': models})

  async def scrape(self, request: requests.Request) -> responses.Response:
    """`GET /metrics`: in Prometheus's text format."""
    del request
    lines = [
      line
      for each in (self.requests, self.seconds, self.batches, self.swaps)
      for line in each.lines()
    ]
    waiting = sum(len(one.batcher) for one in self.served.values())
    lines += ['# TYPE xdomain_waiting gauge', f'xdomain_waiting {waiting}']
    content = '\n'.join(lines) + '\n'
    return responses.PlainTextResponse(content, media_type='text/plain; version=0.0.4')

  async def admin_swap(self, request: requests.Request) -> responses.Response:
    """`POST /swap` of the admin port: loads a model again, from a folder if given."""
    # A browser sends this type to another site only after a preflight request.
    kind = request.headers.get('content-type', '').partition(';')[0]
    if kind != 'application/json':
      raise Refused(415, 'the content type is not application/json')
    given = asking.json_object(await read(request) or b'{}', ('model', 'folder'))
    folder = given.get('folder')
    folder = folder and asking.name(folder, 'folder')
    name = given.get('model')
    if folder is None and name is None:
      await self.swap_all()
      return await self.health(request)
    old = self.of(name and asking.name(name, 'model'))
    try:
      one = await self.swap(old.model.name, folder)
    except portable.ExportError as error:
      raise Refused(409, f'the old version stays: {error}') from None
    return _json(_about(one.model))


def _about(model):
  return {
    'name': model.name,
    'method': model.method,
    'version': model.version,
    'data': model.about['data']['name'],
    'new_users': model.folds_in,
    'reads': model.reads,
    'top': model.top,
    'users': len(model.users),
    'source_items': len(model.source),
    'target_items': len(model.target),
  }


# --- Requests ---------------------------------------------------------------


def _query(model, ask) -> portable.Query:
  """The query of the model, by places; `Refused` lists unknown ids."""
  if ask.user is not None:
    if model.users.find(ask.user) < 0:
      raise Refused(404, 'the user is not in the data', unknown={'user': [ask.user]})
    return _checked(model.known, ask.user, ask.exclude_seen)
  found, unknown = [], {}
  for domain in portable.DOMAINS:
    try:
      found.append(model.places(domain, getattr(ask, domain)))
    except portable.Unknown as error:
      unknown[domain] = error.names
  if unknown:
    count = sum(map(len, unknown.values()))
    which = '1 item is' if count == 1 else f'{count:,} items are'
    raise Refused(404, f'{which} not in the data', unknown=unknown)
  return _checked(model.new, *found, ask.exclude_seen)


def _checked(function, *given):
  try:
    return function(*given)
  except portable.ExportError as error:
    raise Refused(400, str(error)) from None


def _parameters(request, known) -> Mapping[str, str]:
  for name in request.query_params:
    if name not in known:
      raise Refused(
        400, f'unknown parameter {name[:40]!r}; known are {", ".join(known)}'
      )
  return request.query_params


def _domain(value):
  if value not in portable.DOMAINS:
    raise Refused(400, 'domain is neither source nor target')
  return value


async def read(request: requests.Request) -> bytes:
  """The body of a request; `Refused` where it is too large or too slow."""
  body = b''
  try:
    async with asyncio.timeout(PATIENCE):
      async for part in request.stream():
        body += part
        if len(body) > LARGEST:
          raise Refused(413, f'the body has more than {LARGEST:,} bytes')
  except TimeoutError:
    raise Refused(408, f'the body did not arrive within {PATIENCE} seconds') from None
  return body


def _json(content, status=200):
  body = json.dumps(content, ensure_ascii=False, separators=(',', ':')).encode(
    'utf-8', 'replace'
  )
  return responses.Response(body, status, media_type='application/json')


# --- Applications -----------------------------------------------------------


def application(service: Service) -> applications.Starlette:
  """The public endpoints and the page."""
  page = (importlib.resources.files('xdomain.serving') / 'page.html').read_bytes()

  async def show_page(request):
    del request
    return responses.Response(page, media_type='text/html', headers=HEADERS)

  async def show_openapi(request):
    del request
    return _json(openapi.description())

  async def show_docs(request):
    del request
    text = openapi.page()
    return responses.HTMLResponse(text, headers=HEADERS)

  routes = [
    ('/', 'GET', show_page),
    ('/recommend', 'POST', service.recommend),
    ('/similar', 'GET', service.similar),
    ('/items', 'GET', service.items),
    ('/health', 'GET', service.health),
    ('/metrics', 'GET', service.scrape),
    ('/openapi.json', 'GET', show_openapi),
    ('/docs', 'GET', show_docs),
  ]
  open_to_all = ('/', '/health', '/docs', '/openapi.json')
  return _application(service, routes, open_to_all)


def admin_application(service: Service) -> applications.Starlette:
  """The endpoints of the admin port."""
  routes = [('/swap', 'POST', service.admin_swap), ('/health', 'GET', service.health)]
  return _application(service, routes, ())


def _application(service, routes, open_to_all):
  made = []
  for path, method, function in routes:
    endpoint = _endpoint(service, path, function, path in open_to_all)
    made.append(routing.Route(path, endpoint, methods=[method]))

  async def http_error(request, error):
    del request
    sentence = {404: 'there is no such page', 405: 'the method is not allowed'}
    text = sentence.get(error.status_code, 'the request cannot be answered')
    service.requests.add(path='other', status=str(error.status_code))
    answer = _json({'error': text}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer

  app = applications.Starlette(
    routes=made, exception_handlers={exceptions.HTTPException: http_error}
  )
  app.router.redirect_slashes = False  # A redirect would name the host as it was sent.
  return app


def _endpoint(service, path, function, is_open):
  """An endpoint that is measured, and whose errors are one sentence."""

  async def answered(request):
    begin = time.perf_counter()
    try:
      if not is_open:
        _check_token(service.token, request)
      answer = await function(request)
    except Refused as refused:
      content = {'error': refused.sentence, **refused.details}
      answer = _json(content, refused.status)
      if refused.status == 401:
        answer.headers['www-authenticate'] = 'Bearer'
      elif refused.status in (408, 413):  # The rest of the body is not read.
        answer.headers['connection'] = 'close'
    except requests.ClientDisconnect:
      answer = _json({'error': 'the request was cut off'}, 400)
    except Exception:  # The log has the traceback, the caller a sentence.
      LOG.exception('%s failed', path)
      answer = _json({'error': 'the service failed; its log says why'}, 500)
    service.requests.add(path=path, status=str(answer.status_code))
    service.seconds.add(time.perf_counter() - begin, path=path)
    return answer

  return answered


def read_token(path: str | pathlib.Path | None = None) -> str | None:
  """The bearer token in a file, else in XDOMAIN_TOKEN; None where it is not set."""
  if path:
    return pathlib.Path(path).expanduser().read_text('utf-8').strip()
  return os.environ.get('XDOMAIN_TOKEN') or None


def _check_token(token, request):
  given = request.headers.get('authorization', '').encode()
  if token is not None and not hmac.compare_digest(given, f'Bearer {token}'.encode()):
    raise Refused(401, 'the bearer token is missing or wrong')

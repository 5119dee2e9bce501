"""The service answers as the trained method does, refuses in a sentence, swaps."""

import asyncio
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests import helpers
from xdomain.serving import asking, export, metrics, openapi, portable, service


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Exports of EASE, which folds new users in, and of PMF, which does not."""
  folder = tmp_path_factory.mktemp('exports')
  for name in ('ease', 'pmf'):
    export.save(folder / name, helpers.trained(name), top=10, lengths=(32,))
  return folder


@pytest.fixture(scope='module')
def loaded(folders):
  return service.Service([folders / 'ease', folders / 'pmf'])


async def called(app, method, path, body=b'', headers=()):
  """Status, headers and body of one request to an ASGI application."""
  path, _, query = path.partition('?')
  body = body if isinstance(body, bytes) else json.dumps(body).encode()
  sent = []
  headers = [(name.lower().encode(), value.encode()) for name, value in headers]
  scope = {
    'type': 'http',
    'method': method,
    'path': path,
    'query_string': query.encode(),
    'headers': headers,
  }

  async def receive():
    return {'type': 'http.request', 'body': body, 'more_body': False}

  async def send(message):
    sent.append(message)

  await app(scope, receive, send)
  start, *rest = sent
  content = b''.join(part.get('body', b'') for part in rest)
  return start['status'], dict(start['headers']), content


def ask(made, *request, admin=False, **more):
  """Status and JSON of one request."""
  app = service.admin_application(made) if admin else service.application(made)
  status, _, content = asyncio.run(called(app, *request, **more))
  return status, json.loads(content)


def close(rows, expected):
  scores = [row['score'] for row in rows]
  np.testing.assert_allclose(
    scores, [row.score for row in expected], rtol=1e-4, atol=1e-5
  )


def test_new_users_are_recommended_what_the_method_recommends(loaded):
  model = helpers.trained('ease')
  status, answer = ask(
    loaded, 'POST', '/recommend', {'source': ['s1', 's3'], 'target': ['t2'], 'k': 4}
  )
  assert status == 200 and answer['model'] == 'ease'
  close(answer['items'], model.recommend_for(['s1', 's3'], ['t2'], 4))
  assert 't2' not in {row['item'] for row in answer['items']}
  seen = {'target': ['t2'], 'k': 10, 'exclude_seen': False}
  _, answer = ask(loaded, 'POST', '/recommend', seen)
  expected = model.recommend_for(target=['t2'], top=10, exclude_seen=False)
  close(answer['items'], expected)


def test_known_users_are_recommended_what_the_method_recommends(loaded):
  for name in ('ease', 'pmf'):
    model = helpers.trained(name)
    user = str(model.ids.users[3])
    _, answer = ask(loaded, 'POST', '/recommend', {'user': user, 'k': 5, 'model': name})
    close(answer['items'], model.recommend([user], 5))


def test_similar_items_cross_domains(loaded):
  _, answer = ask(loaded, 'GET', '/similar?item=s1&domain=source&k=3')
  close(
    answer['items'], helpers.trained('ease').similar_items('s1', 3, domain='source')
  )


def test_reasons_are_of_the_history(loaded):
  given = {'source': ['s1', 's3'], 'target': ['t2'], 'k': 4, 'explain': True}
  _, answer = ask(loaded, 'POST', '/recommend', given)
  whys = [why for row in answer['items'] for why in row['why']]
  assert whys and {why['item'] for why in whys} <= {'s1', 's3', 't2'}
  assert all(why['contribution'] > 0 for why in whys)
  given = {'user': str(helpers.trained('pmf').ids.users[3]), 'model': 'pmf'}
  status, answer = ask(loaded, 'POST', '/recommend', given | {'explain': True})
  assert status == 400 and 'pmf cannot leave an item' in answer['error']


@pytest.mark.parametrize(
  ('body', 'status', 'sentence'),
  [
    (b'', 400, 'not JSON'),
    (b'{"user": ', 400, 'not JSON'),
    (b'\xff\xfe', 400, 'not JSON'),
    (b'[' * 100_000, 400, 'not JSON'),
    (b'{"k": NaN, "user": "u1"}', 400, 'not JSON'),
    ([1], 400, 'not a JSON object'),
    ({}, 400, 'either user, or at least one item'),
    ({'source': [], 'target': []}, 400, 'either user, or at least one item'),
    ({'user': 'u1', 'source': ['s1']}, 400, 'not both'),
    ({'user': ''}, 400, 'user is not a text'),
    ({'user': ['u1']}, 400, 'user is not a text'),
    ({'user': 'x' * 2000}, 400, 'user is not a text'),
    ({'user': 'nobody'}, 404, 'the user is not in the data'),
    ({'sources': ['s1']}, 400, 'did you mean source'),
    ({'source': 's1'}, 400, 'neither a list of item ids'),
    ({'source': [None]}, 400, 'not a list of item ids'),
    ({'source': ['s1'] * 3 + ['']}, 400, 'source is not a text'),
    ({'source': {'s1': 'good'}}, 400, 'not a number'),
    ({'source': {'s1': 1e300}}, 400, 'not a number'),
    ({'source': [f's{n}' for n in range(5000)]}, 400, 'at most 32'),
    ({'source': ['s1', 'x'], 'target': ['y', '\ud800']}, 404, '3 items are not in'),
    ({'source': ['s1'], 'k': 10**9}, 400, 'k is not a whole number from 1 to 10'),
    ({'source': ['s1'], 'k': 0}, 400, 'k is not a whole number'),
    ({'source': ['s1'], 'k': True}, 400, 'k is not a whole number'),
    ({'source': ['s1'], 'k': 2.5}, 400, 'k is not a whole number'),
    ({'source': ['s1'], 'explain': 'yes'}, 400, 'neither true nor false'),
    ({'source': ['s1'], 'model': 'x'}, 404, 'the model is unknown'),
    ({'source': ['s1'], 'model': 'pmf'}, 400, 'knows the users of its data alone'),
    (b' ' * 300_000, 413, 'more than'),
  ],
)
def test_a_wrong_request_gets_a_sentence(loaded, body, status, sentence):
  got, answer = ask(loaded, 'POST', '/recommend', body)
  assert got == status and sentence in answer['error']
  assert '/' not in answer['error'] and 'Traceback' not in answer['error']


def test_a_body_that_never_ends_is_refused(loaded, monkeypatch):
  monkeypatch.setattr(service, 'PATIENCE', 0.01)
  sent = []

  async def receive():
    await asyncio.sleep(0.1)
    return {'type': 'http.request', 'body': b' ', 'more_body': True}

  async def send(message):
    sent.append(message)

  scope = {'type': 'http', 'method': 'POST', 'path': '/recommend', 'headers': []}
  asyncio.run(service.application(loaded)(scope, receive, send))
  assert sent[0]['status'] == 408 and (b'connection', b'close') in sent[0]['headers']


def test_unknown_ids_are_listed(loaded):
  given = {'source': ['s1', 'x', 'z'], 'target': ['y']}
  _, answer = ask(loaded, 'POST', '/recommend', given)
  assert answer['unknown'] == {'source': ['x', 'z'], 'target': ['y']}


@pytest.mark.parametrize(
  ('path', 'status', 'sentence'),
  [
    ('/similar', 400, 'item is not a text'),
    ('/similar?item=s1&k=1e3', 400, 'k is not a whole number'),
    ('/similar?item=s1', 404, '1 item is not in the data'),
    ('/similar?item=t1&domain=both', 400, 'neither source nor target'),
    ('/items?what=1', 400, "unknown parameter 'what'"),
    ('/items?limit=101', 400, 'limit is not'),
    ('/nothing', 404, 'no such page'),
    ('/recommend', 405, 'not allowed'),
    ('/items/', 404, 'no such page'),
    ('/../etc/passwd', 404, 'no such page'),
  ],
)
def test_a_wrong_address_gets_a_sentence(loaded, path, status, sentence):
  got, answer = ask(loaded, 'GET', path)
  assert got == status and sentence in answer['error']


def test_items_are_searched(loaded):
  assert ask(loaded, 'GET', '/items?q=S1&limit=2')[1]['items'][0].startswith('s1')
  assert ask(loaded, 'GET', '/items?q=nonsense') == (200, {'items': []})
  target = ask(loaded, 'GET', '/items?domain=target&limit=3')[1]['items']
  assert len(target) == 3 and all(item[0] == 't' for item in target)


def test_an_unexpected_error_stays_in_the_log(loaded, monkeypatch, caplog):
  monkeypatch.setattr(service, '_query', lambda *given: 1 / 0)
  status, answer = ask(loaded, 'POST', '/recommend', {'source': ['s1']})
  assert (status, answer) == (500, {'error': 'the service failed; its log says why'})
  assert 'ZeroDivisionError' in caplog.text


def test_a_token_guards_all_but_the_page_and_health(folders):
  made = service.Service([folders / 'pmf'], token='secret')
  for path, status in (('/health', 200), ('/items', 401), ('/metrics', 401)):
    app = service.application(made)
    assert asyncio.run(called(app, 'GET', path))[0] == status
  for value, status in (('Bearer secret', 200), ('Bearer other', 401), ('secret', 401)):
    got, _ = ask(made, 'GET', '/items', headers=[('Authorization', value)])
    assert got == status
  json_type = ('Content-Type', 'application/json')
  assert ask(made, 'POST', '/swap', admin=True, headers=[json_type])[0] == 401


def test_concurrent_requests_share_batches(folders):
  made = service.Service([folders / 'ease'])
  app = service.application(made)
  bodies = [{'source': [f's{n % 15}'], 'k': 3} for n in range(150)]

  async def all_at_once():
    each = (called(app, 'POST', '/recommend', body) for body in bodies)
    return await asyncio.gather(*each)

  answers = asyncio.run(all_at_once())
  model = helpers.trained('ease')
  for n, (status, _, content) in enumerate(answers):
    assert status == 200
    if n < 15:
      rows = json.loads(content)['items']
      close(rows, model.recommend_for([f's{n}'], top=3, say=lambda line: None))
  lines = '\n'.join(made.batches.lines())
  count = int(re.search(r'xdomain_batch_size_count\S* (\d+)', lines)[1])
  total = float(re.search(r'xdomain_batch_size_sum\S* (\S+)', lines)[1])
  assert total == 150 and count <= 6


@pytest.mark.matrix
def test_a_swap_loses_nothing_and_two_take_turns(folders, tmp_path):
  mine = shutil.copytree(folders / 'ease', tmp_path / 'mine')
  made = service.Service([mine])
  app, admin = service.application(made), service.admin_application(made)
  before = made.of(None).model.version
  export.save(mine, helpers.trained('ease', epochs=1), top=5, lengths=(32,))
  kind = [('Content-Type', 'application/json')]

  async def both():
    swaps = [
      asyncio.create_task(called(admin, 'POST', '/swap', b'{}', kind)) for _ in range(2)
    ]
    statuses, versions = set(), set()
    while not all(task.done() for task in swaps):
      body = {'source': ['s1'], 'k': 3}
      status, _, content = await called(app, 'POST', '/recommend', body)
      statuses.add(status)
      versions.add(json.loads(content).get('version'))
    return statuses, versions, [task.result()[0] for task in swaps]

  statuses, versions, swapped = asyncio.run(both())
  assert swapped == [200, 200] and before in versions
  assert statuses == {200}
  assert made.of(None).model.version != before and made.of(None).model.top == 5


def test_a_swap_to_something_else_leaves_the_old_one(folders, tmp_path):
  mine = shutil.copytree(folders / 'ease', tmp_path / 'mine')
  made = service.Service([mine])
  kind = [('Content-Type', 'application/json')]
  broken = shutil.copytree(mine, tmp_path / 'broken')
  (broken / 'best_32.stablehlo').write_bytes(b'nonsense')
  about = json.loads((broken / 'about.json').read_text())
  about['sha256']['best_32.stablehlo'] = portable.digest(broken / 'best_32.stablehlo')
  (broken / 'about.json').write_text(json.dumps(about))
  shutil.rmtree(mine)
  for body, status, sentence in (
    ({'model': 'ease'}, 409, 'mine holds no export'),
    ({'folder': str(tmp_path)}, 409, 'holds no export'),
    ({'folder': str(broken)}, 409, 'the new version cannot be loaded; the log'),
    ({'folder': str(folders / 'pmf')}, 409, "has the name 'pmf'"),
    ({'folder': 7}, 400, 'folder is not a text'),
    ({'model': 'x'}, 404, 'the model is unknown'),
  ):
    got, answer = ask(made, 'POST', '/swap', body, admin=True, headers=kind)
    assert got == status and sentence in answer['error'], answer
    assert str(tmp_path) not in answer['error']
  assert ask(made, 'POST', '/swap', admin=True)[0] == 415
  assert ask(made, 'POST', '/recommend', {'source': ['s1']})[0] == 200


def test_two_exports_of_one_name_are_refused(folders):
  with pytest.raises(portable.ExportError, match='two exports have the name'):
    service.Service([folders / 'pmf', folders / 'pmf'])


def test_metrics_are_prometheus_text(loaded):
  ask(loaded, 'GET', '/items')
  _, headers, content = asyncio.run(
    called(service.application(loaded), 'GET', '/metrics')
  )
  assert headers[b'content-type'].startswith(b'text/plain; version=0.0.4')
  for line in content.decode().splitlines():
    assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [\d.e+-]+', line), line
  assert 'xdomain_requests_total{path="/items",status="200"}' in content.decode()


def test_a_histogram_is_cumulative():
  made = metrics.Histogram('h', 'text', (1, 2))
  for value in (0.5, 1, 1.5, 9):
    made.add(value, path='a"b')
  assert list(made.lines())[2:] == [
    'h_bucket{path="a\\"b",le="1"} 2',
    'h_bucket{path="a\\"b",le="2"} 3',
    'h_bucket{path="a\\"b",le="+Inf"} 4',
    'h_sum{path="a\\"b"} 12',
    'h_count{path="a\\"b"} 4',
  ]


def test_the_pages_load_nothing_from_elsewhere(loaded):
  app = service.application(loaded)
  for path in ('/', '/docs'):
    status, headers, content = asyncio.run(called(app, 'GET', path))
    text = content.decode()
    assert status == 200 and not re.search(r'(src|href)=.?(https?:|//)', text)
    assert b"default-src 'none'" in headers[b'content-security-policy']


def test_the_description_names_all_paths_and_fields():
  described = openapi.description()
  assert set(described['paths']) == {
    *('/recommend', '/similar', '/items', '/health', '/metrics')
  }
  assert set(openapi.ASK['properties']) == set(asking.Ask._fields)


# --- The process ------------------------------------------------------------


@pytest.fixture
def running(folders, tmp_path):
  """A process that serves a copy of an export: itself, its port and the copy."""
  mine = shutil.copytree(folders / 'ease', tmp_path / 'mine')
  command = f'-m experiments.serve --artefact={mine} --port=0 --admin_port=0'
  process = subprocess.Popen(
    [sys.executable, *command.split()],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  line = process.stdout.readline()
  found = re.match(r'http://127.0.0.1:(\d+) answers after', line)
  assert found, line + process.stderr.read()
  yield process, int(found[1]), mine
  process.kill()
  process.communicate()


@pytest.mark.matrix
def test_signals_swap_and_end_without_losing_a_request(running):
  process, port, mine = running
  statuses, versions, ending = [], [], threading.Event()

  def caller():
    body = json.dumps({'source': ['s1'], 'k': 2, 'explain': True})
    while not ending.is_set():
      connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
      try:
        connection.connect()
      except ConnectionRefusedError:
        return  # The service has ended.
      connection.request('POST', '/recommend', body)
      answer = connection.getresponse()
      statuses.append(answer.status)
      versions.append(json.loads(answer.read())['version'])
      connection.close()
      if len(set(versions)) == 2 and len(versions) > 50:
        ending.set()

  callers = [threading.Thread(target=caller) for _ in range(4)]
  for each in callers:
    each.start()
  export.save(mine, helpers.trained('ease'), top=5, lengths=(32,))
  process.send_signal(signal.SIGHUP)
  assert ending.wait(60)
  for each in callers:
    each.join()
  ending.clear()
  statuses.clear()
  callers = [threading.Thread(target=caller) for _ in range(4)]
  for each in callers:
    each.start()
  process.send_signal(signal.SIGTERM)
  output, errors = process.communicate(timeout=60)
  ending.set()
  for each in callers:
    each.join()
  assert process.returncode == 0 and set(statuses) <= {200}
  assert 'Traceback' not in output + errors

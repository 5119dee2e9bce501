r"""The service under load: latency, requests a second, batches of all users, a soak.

python -m benchmarks.serve --out=results/benchmarks/serve.md
python -m benchmarks.serve --parts=soak --seconds=1800 --out=results/benchmarks/serve.md

`--out` replaces the sections of the parts that run and keeps the others.

The service runs as a process of its own, callers in another, on the same cores. Each
caller sends a request, waits for the answer and sends the next. Seconds are those of
the clock; CPU seconds of the service are steadier on a busy machine.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np
from absl import app, flags

from benchmarks import numbers, usage

PARTS = flags.DEFINE_list(
  'parts', ['start', 'movielens', 'million', 'top_k', 'batch'], 'The parts to run.'
)
SECONDS = flags.DEFINE_float('seconds', 10, 'Seconds of load, for each line.')
CALLERS = numbers.define('callers', [1, 8, 64], 'Numbers of callers.')
USERS = flags.DEFINE_integer('users', 1_000_000, 'Users of `batch`.')
ITEMS = flags.DEFINE_integer('items', 1_000_000, 'Items of `million`.')
OUT = flags.DEFINE_string('out', None, 'A Markdown file with a section for each part.')
TICKS = os.sysconf('SC_CLK_TCK')


# --- Callers ----------------------------------------------------------------


async def _caller(port, bodies, end, seconds, check=None, pause=0.0):
  """Appends the seconds of each request, until the end; raises on a failed one."""
  reader, writer = await asyncio.open_connection('127.0.0.1', port)
  while time.monotonic() < end:
    at = random.randrange(len(bodies))
    begin = time.perf_counter()
    writer.write(bodies[at])
    status, content = await _answer(reader)
    seconds.append(time.perf_counter() - begin)
    if status != 200:
      raise ValueError(f'{status}: {content[:200]}')
    if check is not None:
      check(at, content)
    if pause:
      await asyncio.sleep(pause * random.uniform(0.5, 1.5))
  writer.close()


async def _answer(reader):
  head = await reader.readuntil(b'\r\n\r\n')
  size = int(re.search(rb'content-length: (\d+)', head, re.I)[1])
  return int(head[9:12]), await reader.readexactly(size)


def request(body) -> bytes:
  """A `POST /recommend` of a JSON body."""
  text = json.dumps(body).encode()
  head = f'POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: {len(text)}\r\n\r\n'
  return head.encode() + text


async def _load(port, bodies, callers, length):
  seconds, begin = [], time.monotonic()
  each = (_caller(port, bodies, begin + length, seconds) for _ in range(callers))
  await asyncio.gather(*each)
  return seconds, time.monotonic() - begin


@contextlib.contextmanager
def service(*folders):
  """A service as a process: the process, its port, its admin port, seconds to start."""
  command = [sys.executable, '-m', 'experiments.serve', '--port=0', '--admin_port=0']
  command.append('--artefact=' + ','.join(map(str, folders)))
  begin = time.monotonic()
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  port, admin = (
    int(re.search(r':(\d+)', process.stdout.readline())[1]) for _ in range(2)
  )
  try:
    yield process, port, admin, time.monotonic() - begin
  finally:
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def cpu_seconds(process) -> float:
  """CPU seconds of a process so far."""
  text = pathlib.Path(f'/proc/{process.pid}/stat').read_text()
  user, system = text.rpartition(')')[2].split()[11:13]
  return (int(user) + int(system)) / TICKS


def under_load(process, port, bodies, name):
  """A line for each number of callers."""
  for callers in CALLERS.value:
    asyncio.run(_load(port, bodies, callers, 1))
    before = cpu_seconds(process)
    seconds, took = asyncio.run(_load(port, bodies, callers, SECONDS.value))
    cpu = cpu_seconds(process) - before
    p50, p99 = 1000 * np.percentile(seconds, [50, 99])
    yield [
      name,
      callers,
      f'{p50:.1f}',
      f'{p99:.1f}',
      f'{len(seconds) / took:,.0f}',
      f'{1000 * cpu / len(seconds):.2f}',
    ]


def peer(item, histories, name):
  """`implicit`'s recommend for the same factors: one new user at a time, and 64."""
  import scipy.sparse
  import threadpoolctl
  from implicit.cpu import als

  threadpoolctl.threadpool_limits(1)  # As implicit asks for.
  model = als.AlternatingLeastSquares(factors=item.shape[1], regularization=0.01)
  model.item_factors = item
  for count in (1, 64):
    seconds, cpu = [], time.process_time()
    for turn in range(40 if count == 1 else 10):
      some = [histories[(turn * count + n) % len(histories)] for n in range(count)]
      row = np.repeat(np.arange(count), [len(one) for one in some])
      column = np.concatenate(some)
      cells = (np.ones(len(row), np.float32), (row, column))
      matrix = scipy.sparse.csr_matrix(cells, (count, len(item)))
      begin = time.perf_counter()
      ids = 0 if count == 1 else np.arange(count)
      model.recommend(ids, matrix, N=10, recalculate_user=True)
      seconds.append(time.perf_counter() - begin)
    cpu = (time.process_time() - cpu) / len(seconds) / count
    p50, p99 = 1000 * np.percentile(seconds, [50, 99])
    yield [
      f'{name}, {count} at once',
      1,
      f'{p50:.1f}',
      f'{p99:.1f}',
      f'{count / np.mean(seconds):,.0f}',
      f'{1000 * cpu:.2f}',
    ]


# --- Parts ------------------------------------------------------------------

COLUMNS = ('model', 'callers', 'p50 ms', 'p99 ms', 'requests/s', 'CPU ms a request')


def start(folder):
  """Starts the service of the demo's exports, with compiled programs kept.

  Seconds are from the start of the process to its first answer, the best of three.
  """
  del folder
  from xdomain.serving import demo, exports

  mine = [exports.find(each) for each in demo.artefacts()]
  lines = []
  for folders in ([mine[1]], [mine[0]], mine):
    seconds = []
    for _ in range(4):  # The first one compiles where nothing is kept.
      with service(*folders) as (process, _, _, taken):
        seconds.append((taken, cpu_seconds(process)))
    best, cpu = min(seconds[1:])
    names = [json.loads((each / 'about.json').read_text())['name'] for each in folders]
    lines.append([' and '.join(names), f'{best:.1f}', f'{cpu:.1f}'])
  return table(('models', 'seconds', 'CPU s'), lines)


def movielens(folder):
  """Serves the models of the demo and implicit ALS on MovieLens.

  Each request has the source films of a real user, 39 on average, and gets 10 items.
  Beside them is `implicit`'s `recommend` for the factors of `ials`, in one process and
  without HTTP.
  """
  from xdomain import api
  from xdomain.data import sources
  from xdomain.runs import defaults
  from xdomain.serving import demo, export, exports

  folders = [exports.find(each) for each in demo.artefacts()]
  spec = defaults.spec_of('ials')
  model = api.fit_everything(spec, sources.dataset(say=print, **spec.data), 5)
  export.save(folder / 'ials', model)
  histories = _histories(model.dataset.pair.source)
  names = model.ids.source
  lines = []
  with service(*folders, folder / 'ials') as (process, port, _, _):
    for name in ('shared_vae_cold', 'ease', 'ials'):
      bodies = [
        request({'source': names[each].tolist(), 'k': 10, 'model': name})
        for each in histories
      ]
      lines += under_load(process, port, bodies, name)
  n_target = len(model.ids.target)
  factors = np.array(model.state.item)
  lines += peer(factors, [each + n_target for each in histories], 'implicit')
  return table(COLUMNS, lines)


def _histories(ratings):
  items = np.split(
    ratings.item[np.argsort(ratings.user, kind='stable')],
    np.cumsum(np.bincount(ratings.user))[:-1],
  )
  return [each for each in items if each.size]


def factor_model(users, items, factors, interactions):
  """Implicit ALS as if trained: random factors and interactions."""
  import jax.numpy as jnp

  from xdomain.data import types
  from xdomain.models import ials
  from xdomain.runs import defaults, trained
  from xdomain.runs import spec as specs

  rng = np.random.default_rng(0)

  def ratings(n_items):
    user = np.repeat(np.arange(users, dtype=np.int32), interactions)
    item = rng.integers(0, n_items, user.size, dtype=np.int32)
    cells = np.unique(user.astype(np.int64) * n_items + item)
    user, item = np.divmod(cells, n_items)
    ones, no_time = np.ones(cells.size, np.float32), np.zeros(0, np.int64)
    columns = user.astype(np.int32), item.astype(np.int32), ones, no_time
    return types.Ratings(*columns, users, n_items)

  pair = types.Pair(ratings(1000), ratings(items))
  ids = types.Ids(
    *(
      types.texts([f'{letter}{n}' for n in range(count)])
      for letter, count in (('u', users), ('s', 1000), ('t', items))
    )
  )
  spec = specs.replaced(
    defaults.spec_of('ials'), view='both', model={'factors': factors}
  )
  item = rng.normal(size=(items, factors)).astype(np.float32) / factors**0.5
  state = ials.Params(jnp.zeros((users, factors)), jnp.asarray(item))
  dataset = types.Dataset('synthetic', pair, ids, (0.0, 1.0), (), ())
  return trained.Trained(spec, dataset, pair, state, (1,), pair.target, {})


def million(folder):
  """Serves implicit ALS with 1 million items and 128 random factors, exactly.

  Each request has 20 items. Beside it is `implicit`'s `recommend` for the same factors,
  in one process and without HTTP.
  """
  from xdomain.serving import export

  model = factor_model(1000, ITEMS.value, 128, 20)
  export.save(folder / 'million', model, lengths=(32,))
  histories = _histories(model.dataset.pair.target)
  bodies = [request({'target': model.ids.target[each].tolist()}) for each in histories]
  item = np.array(model.state.item)
  with service(folder / 'million') as (process, port, _, _):
    lines = list(under_load(process, port, bodies, f'{ITEMS.value:,} items'))
  return table(COLUMNS, [*lines, *peer(item, histories, 'implicit')])


def top_k(folder):
  """Finds the best 100 of 1 million scores in several forms.

  Milliseconds are the best of 7, for 1 and for 8 users; recall is the share of the
  exact best 100. An export takes the first form.
  """
  del folder
  import jax
  import jax.numpy as jnp

  most, items = 100, 1 << 20

  def in_blocks(scores, blocks):
    parts = scores.reshape(len(scores), blocks, -1)
    best, at = jax.lax.top_k(parts, most)
    at = at + jnp.arange(blocks)[:, None] * parts.shape[2]
    best, place = jax.lax.top_k(best.reshape(len(scores), -1), most)
    return best, jnp.take_along_axis(at.reshape(len(scores), -1), place, 1)

  forms = {
    '`lax.top_k` over all items': lambda x: jax.lax.top_k(x, most),
    'of 8 blocks, then of these': lambda x: in_blocks(x, 8),
    'of 64 blocks, then of these': lambda x: in_blocks(x, 64),
    '`lax.approx_max_k`': lambda x: jax.lax.approx_max_k(x, most),
  }
  lines = []
  for name, form in forms.items():
    line = [name]
    for users in (1, 8):
      scores = jax.random.normal(jax.random.key(0), (users, items))
      exact = np.array(jax.lax.top_k(scores, most)[1])
      run = jax.jit(form).lower(scores).compile()
      got, seconds = np.array(run(scores)[1]), []
      for _ in range(7):
        begin = time.perf_counter()
        jax.block_until_ready(run(scores))
        seconds.append(time.perf_counter() - begin)
      line.append(f'{1000 * min(seconds):.1f}')
    recall = np.mean([np.isin(*rows).mean() for rows in zip(exact, got)])
    lines.append([*line, f'{recall:.3f}'])
  return table(('form', '1 user', '8 users', 'recall'), lines)


def batch(folder):
  """Recommends to all users of a pair with 1 million users.

  Each has 10 interactions in either domain; implicit ALS with 20,000 items and 64
  random factors, by `Portable.recommend_all`. Memory is without the pages of the mapped
  files of interactions and ids, which the system drops when it needs room.
  """
  from xdomain.serving import export, portable

  model = factor_model(USERS.value, 20_000, 64, 10)
  export.save(folder / 'batch', model, top=10, lengths=(16,))
  mine = portable.load(folder / 'batch')
  del model
  begin, cpu, count, memory = time.perf_counter(), time.process_time(), 0, []
  for block in mine.recommend_all(10):
    count += sum(map(len, block.values()))
    memory.append(usage.mebibytes(kind='RssAnon'))
  seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
  tenth = len(memory) // 10
  line = [
    f'{USERS.value:,}',
    f'{count:,}',
    f'{seconds:.0f}',
    f'{cpu:.0f}',
    f'{count / seconds:,.0f}',
    f'{memory[tenth]:,.0f}',
    f'{memory[-1]:,.0f}',
    f'{max(memory):,.0f}',
  ]
  columns = (
    *('users', 'items recommended', 'seconds', 'CPU s', 'items/s'),
    *('MB after a tenth', 'MB at the end', 'MB at most'),
  )
  return table(columns, [line])


def soak(folder):
  """Serves EASE at half of the peak rate, with swaps and a caller that sends garbage.

  An export and a swap follow each other every minute. Garbage is wrong JSON, wrong
  types, unknown ids, requests that are no HTTP or are cut off. Every answer is compared
  with `Trained.recommend_for`.
  """
  from xdomain import api
  from xdomain.serving import demo, export

  _, artefact = demo.artefacts()
  model = api.load(artefact)
  mine = folder / 'mine'
  export.save(mine, model, top=100)
  names, users = model.ids.source, _histories(model.dataset.pair.source)[:60]
  given = [names[each].tolist() for each in users]
  expected = [
    {row.item: row.score for row in model.recommend_for(each, top=30)} for each in given
  ]
  bodies = [request({'source': each, 'k': 10}) for each in given]
  versions = set()

  def check(at, content):
    answer = json.loads(content)
    versions.add(answer['version'])
    for row in answer['items']:
      score = expected[at][row['item']]
      assert abs(row['score'] - score) <= 1e-4 + 1e-3 * abs(score), (row, score)

  with service(mine) as (process, port, admin, _):
    seconds, took = asyncio.run(_load(port, bodies, 64, 10))
    rate = len(seconds) / took / 2
    memory, swaps, refused = [], [], []

    async def all_of_it():
      end, good = time.monotonic() + SECONDS.value, []
      pause = max(0.0, 32 / rate - 32 / (2 * rate))
      callers = (_caller(port, bodies, end, good, check, pause) for _ in range(32))
      others = (
        _garbage(port, end, refused),
        _swaps(admin, end, swaps, functools.partial(_again, mine, model)),
        _memory(process.pid, end, memory),
      )
      await asyncio.gather(*callers, *others)
      return good

    good = asyncio.run(all_of_it())
  line = [
    f'{SECONDS.value:.0f}',
    f'{2 * rate:,.0f}',
    f'{len(good) / SECONDS.value:,.0f}',
    f'{len(good):,}',
    '0',
    f'{len(swaps)}',
    f'{len(versions)}',
    f'{len(refused):,}',
    f'{1000 * np.percentile(good, 99):.0f}',
    f'{memory[len(memory) // 10]:,.0f}',
    f'{memory[-1]:,.0f}',
    f'{max(memory):,.0f}',
  ]
  columns = (
    *('seconds', 'peak requests/s', 'requests/s', 'good requests', 'failed', 'swaps'),
    *(
      'versions seen',
      'garbage refused',
      'p99 ms',
      'MB after a tenth',
      'MB at the end',
    ),
    'MB at most',
  )
  return table(columns, [line])


def _again(folder, model, turn):
  """Exports the model anew, with other bytes and the same answers."""
  from xdomain.serving import export

  export.save(folder, model, top=100 - turn % 2 * 50)


async def _swaps(port, end, done, export):
  """Exports and swaps each minute."""
  begin = time.monotonic()
  while (minute := begin + 60 * (len(done) + 1)) < end:
    await asyncio.sleep(max(0, minute - time.monotonic()))
    await asyncio.to_thread(export, len(done))
    url = f'http://127.0.0.1:{port}/swap'
    headers = {'content-type': 'application/json'}
    ask = urllib.request.Request(url, b'{}', headers)
    answer = await asyncio.to_thread(urllib.request.urlopen, ask)
    done.append(answer.status)


async def _garbage(port, end, refused):
  """Sends malformed, wrong and truncated requests."""
  rng = random.Random(0)
  wrong = (
    request({'source': ['nonsense']}),
    request({'source': 7}),
    request([]),
    request({'user': 'nobody', 'k': 10**9}),
    b'POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{"a":',
    b'GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n',
    b'\x00\xff' * 50 + b'\r\n\r\n',
    b'POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n{',
  )
  while time.monotonic() < end:
    await asyncio.sleep(0.05)
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    with contextlib.suppress(
      ConnectionError, asyncio.IncompleteReadError, TimeoutError
    ):
      writer.write(rng.choice(wrong))
      head = await asyncio.wait_for(reader.readuntil(b'\r\n'), 1)
      status = int(head.split()[1])
      assert 400 <= status < 500, head
      refused.append(status)
    writer.close()


async def _memory(pid, end, found):
  while time.monotonic() < end:
    found.append(usage.mebibytes(pid))
    await asyncio.sleep(5)


def table(columns, lines) -> str:
  """A table in Markdown."""
  rows = [columns, ['---'] * len(columns), *lines]
  return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in rows)


def _section(name, begin):
  """A part as Markdown: its docstring, its table, and how it was measured."""
  load = os.getloadavg()[0]
  function = globals()[name]
  with tempfile.TemporaryDirectory() as folder:
    text = function(pathlib.Path(folder))
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  nice = f', niceness {os.nice(0)}' if os.nice(0) else ''
  about = (
    f'`python -m benchmarks.serve --parts={name} --seconds={SECONDS.value:g}`:'
    f' {os.cpu_count()} cores{nice}, load average {load:.1f} before and'
    f' {os.getloadavg()[0]:.1f} after; {time.monotonic() - begin:.0f} s in all,'
    f' {memory:,.0f} MB at most in the process that measures.'
  )
  return f'## {name}\n\n{inspect.getdoc(function)}\n\n{text}\n\n{about}\n'


def _replace(path, name, section):
  """Writes a section into a file, where one of the same name stood or at its end."""
  head = '# The service\n\nEach section is printed by the command at its end.\n'
  old = path.read_text('utf-8') if path.exists() else head
  parts = re.split(r'^(?=## )', old, flags=re.M)
  kept = [part.strip() for part in parts]
  at = [n for n, part in enumerate(kept) if part.startswith(f'## {name}\n')]
  if at:
    kept[at[0]] = section.strip()
  else:
    kept.append(section.strip())
  path.write_text('\n\n'.join(kept) + '\n', 'utf-8')


def main(argv):
  del argv
  for name in PARTS.value:
    section = _section(name, time.monotonic())
    print(section, flush=True)
    if OUT.value:
      _replace(pathlib.Path(OUT.value), name, section)


if __name__ == '__main__':
  app.run(main)

r"""The memory of each process of a run, and the part of the interactions that it reads.

python -m benchmarks.hosts --millions=2.5 --count=2

Writes two CSV files of so many million interactions, 20 of each user. As many processes
of this host prepare them for BPR, place them on the devices of all, and read the shares
of their devices. They do so twice: each process prepares for itself, or the first for
all. The memory is anonymous (RssAnon of Linux): the most until then.
"""

import contextlib
import dataclasses
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

import numpy as np
from absl import app, flags

from benchmarks import scale, usage
from experiments import arguments, processes, program

MILLIONS = flags.DEFINE_float(
  'millions', 2.5, 'Interactions of each domain.', lower_bound=0.01
)
COUNT = flags.DEFINE_integer('count', 2, 'Processes, 2 or more.', lower_bound=2)
FOLDER = flags.DEFINE_string('folder', '', 'Of the files; set in each process.')
APART = flags.DEFINE_boolean('apart', False, 'Each process reads for itself.')
NAMES = 'source', 'target'
COLUMNS = (
  'data',
  'process',
  'anonymous MiB before',
  'at most',
  'after',
  'interactions on its devices',
  'shared MiB',
  'read of them',
)


def main(argv):
  del argv
  if FOLDER.value:
    with program.running(*processes.of_flags()):
      _place(pathlib.Path(FOLDER.value))
    return
  from xdomain.reporting import render

  print(render.markdown_row(COLUMNS))
  print(render.markdown_row(['---'] * len(COLUMNS)))
  with tempfile.TemporaryDirectory() as folder:
    users = round(MILLIONS.value * 1e6 / scale.EACH)
    for k, (name, items) in enumerate(zip(NAMES, scale.ITEMS)):
      cells = scale.interactions(k, users, items, scale.EACH * users)
      scale.write(pathlib.Path(folder, f'{name}.csv'), *cells)
    for apart in (True, False):
      print(_processes(folder, apart), end='', flush=True)


def _processes(folder, apart) -> str:
  """The rows that the first of several processes prints."""
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    port = probe.getsockname()[1]
  command = [sys.executable, '-m', 'benchmarks.hosts', f'--folder={folder}']
  command += [f'--apart={apart}', f'--coordinator=localhost:{port}']
  command += [f'--processes={COUNT.value}']
  running = [
    subprocess.Popen([*command, f'--process={at}'], stdout=subprocess.PIPE, text=True)
    for at in range(COUNT.value)
  ]
  first, *_ = [process.communicate()[0] for process in running]
  return ''.join(line for line in first.splitlines(True) if line.startswith('|'))


def _place(folder):
  """Prepares and places the data, and prints a row for each process."""
  import jax
  from jax.experimental import multihost_utils

  from xdomain import shards
  from xdomain.reporting import render
  from xdomain.runs import defaults, prepare, sharing
  from xdomain.training import placement

  files = {name: str(folder / f'{name}.csv') for name in NAMES}
  data = dict(kind='tables_implicit', **files)
  spec = dataclasses.replace(defaults.spec_of('bpr'), data=data)
  before, peak = _anonymous(), Peak()
  context = contextlib.nullcontext() if APART.value else sharing.opened(folder)
  with peak, context:
    prepared = prepare.prepare(spec, say=lambda line: None)
    everything = [each.by_user.n_entries for each in prepared.data[:2]]
    axes = shards.Axes(rows=jax.device_count())
    plan = placement.plan(jax.random.key(0), (), prepared.data, axes)
    data = plan.place(prepared.data)
    for leaf in jax.tree.leaves(data):
      for shard in leaf.addressable_shards:
        np.asarray(shard.data).sum()  # A CPU may map what no program has read.
    there = sum(
      shard.data.shape[0]
      for domain in data[:2]
      for shard in domain.by_user.column.array.addressable_shards
    )
    mapped = sum(path.stat().st_size for path in folder.glob('shared-*/*.npy'))
    after = _anonymous()
    most = max(peak.mib, after)
    found = before, most, after, there, mapped / 2**20, _read()
    every = multihost_utils.process_allgather(np.array(found, np.int32))
  for process, (before, most, after, there, *of_files) in enumerate(every):
    who = 'each reads' if APART.value else 'the first reads'
    share = f'{there:,} of {sum(everything):,}'
    row = who, process, before, most, after, share, *of_files
    print(render.markdown_row(row))


class Peak:
  """A context that watches the anonymous memory of this process."""

  mib = 0.0

  def __enter__(self):
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._watch)
    self._thread.start()

  def _watch(self):
    while not self._ended.wait(0.01):
      self.mib = max(self.mib, _anonymous())

  def __exit__(self, *error):
    self._ended.set()
    self._thread.join()


def _anonymous() -> float:
  """MiB that this process holds and no file does."""
  return usage.mebibytes(kind='RssAnon')


def _read() -> float:
  """MiB of the shared files that this process has read."""
  maps = pathlib.Path('/proc/self/smaps').read_text()
  parts = re.findall(r'/shared-\S+\n(?:.*\n){1,3}?Rss:\s+(\d+)', maps)
  return sum(map(int, parts)) / 2**10


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)

"""A run names its memory and its mesh, and is refused before it starts."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, shards
from xdomain.data import device, synthetic
from xdomain.runs import defaults, devices, memory, methods, prepare
from xdomain.runs import spec as specs


def placed(said=None, method='pmf', **fields):
  spec = specs.replaced(defaults.spec_of(method), **fields)
  pair = helpers.small()
  found = methods.of(spec, pair.sizes)
  say = (lambda line: None) if said is None else said.append
  return devices.placed(spec, found, pair.data, say=say)


def test_a_run_that_fits_stays_on_one_device():
  said = []
  assert placed(said).axes == shards.ONE
  (line,) = said
  assert 'pmf takes about' in line and 'free on each device' in line


def test_tables_are_spread_over_the_devices_that_they_need(monkeypatch):
  need = memory.Need(tables=8000, rest=10)
  monkeypatch.setattr(memory, 'of_member', lambda *given: need)
  monkeypatch.setattr(jax, 'devices', lambda: [None] * 8)
  for free, rows in ((8010, 1), (8009, 2), (2010, 4), (1010, 8)):
    monkeypatch.setattr(memory, 'free', lambda free=free: free)
    assert placed().axes == shards.Axes(1, rows)
  said = []
  placed(said)
  assert 'tables of users and items over 8 of 8 devices' in said[1]


def test_a_run_that_does_not_fit_is_refused_with_numbers_and_ways_out(monkeypatch):
  need = memory.Need(tables=3 * 2**30, rest=2**20)
  monkeypatch.setattr(memory, 'of_member', lambda *given: need)
  monkeypatch.setattr(memory, 'free', lambda: 2**30)
  with pytest.raises(specs.SpecError) as error:
    placed()
  line = str(error.value)
  assert '3.0 GB on a device, of which 1.0 GB are free' in line
  assert 'mesh=(1, 4)' in line and 'model.factors' in line and '\n' not in line


def test_interactions_that_do_not_fit_are_refused_before_they_are_placed(monkeypatch):
  dataset = synthetic.pair(0)
  monkeypatch.setattr(memory, 'free', lambda: 2**10)
  with pytest.raises(specs.SpecError, match=r'interactions take about .* kB on a d'):
    prepare.put('both', dataset, dataset.pair)


def test_interactions_wait_on_the_host_where_there_are_several_devices(monkeypatch):
  dataset = synthetic.pair(0)
  alone = prepare.put('both', dataset, dataset.pair)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(alone))
  takes = device.size(dataset.pair)
  monkeypatch.setattr(jax, 'device_count', lambda: 4)
  monkeypatch.setattr(memory, 'free', lambda: takes // 4)  # Its share fits.
  waiting = prepare.put('both', dataset, dataset.pair)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(waiting))
  chex.assert_trees_all_equal(alone, waiting)


def shapes(users, items, entries):
  """Both domains of a pair, as shapes alone."""

  def rows(n_rows, n_columns):
    def of(n, dtype=jnp.int32):
      return jax.ShapeDtypeStruct((n,), dtype)

    many = of(entries), of(entries), of(entries, jnp.float32)
    return base.Rows(of(n_rows + 1), *many, of(n_rows), n_columns, longest=1 << 18)

  domain = base.Domain(rows(users, items), rows(items, users))
  return base.Arrays(domain, domain)


@pytest.mark.parametrize('method', ['bpr', 'item_knn'])
def test_more_cells_than_32_bits_count_are_planned_and_refused(monkeypatch, method):
  monkeypatch.setattr(memory, 'free', lambda: 16 * 2**30)
  users, items = 100_000_000, 30_000_000
  spec = defaults.spec_of(method)
  found = methods.of(spec, base.Sizes(users, items, items))
  with pytest.raises(specs.SpecError) as error:
    devices.placed(spec, found, shapes(users, items, 1_000_000_000))
  # The state, the best state and, of BPR, a gradient; neighbours are no gradient.
  least = 3 * 4 * (users + items) * 64 if method == 'bpr' else 2 * 8 * items * 200
  takes = re.search(r'takes about ([\d.]+) GB', str(error.value))
  assert takes and float(takes[1]) * 2**30 > 0.999 * least


@pytest.mark.parametrize('mesh', [(2,), (1, 0), (1, 'a')])
def test_a_mesh_is_two_numbers_of_devices(mesh):
  with pytest.raises(specs.SpecError, match='two numbers'):
    placed(mesh=mesh)


def test_a_mesh_of_more_devices_than_there_are_is_refused():
  with pytest.raises(specs.SpecError, match='of 1024 devices; there'):
    placed(mesh=(4, 256))


def test_a_mesh_decides_no_record():
  spec = defaults.spec_of('pmf')
  assert specs.digest(spec) == specs.digest(specs.replaced(spec, mesh=(1, 2)))

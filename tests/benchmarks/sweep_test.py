import jax
import jax.numpy as jnp

from benchmarks import sweep
from tests import helpers
from xdomain.models import autorec, darec


def test_a_sweep_is_timed_in_every_form():
  small = helpers.small()
  model = autorec.model(small.sizes, embed=4, batch=16)
  hyper = jax.tree.map(lambda value: jnp.full(1, value), autorec.Hyper())
  stage, state = sweep.last_stage(model, small.data, hyper, 2)
  count, *numbers, values, seeds, _, _ = sweep.compare(
    stage, state, small.data, hyper, 3, 1
  )
  assert (count, values, seeds) == ('3', 'at once', 'in turn')
  assert len(numbers) == 3 + 2
  assert all(float(number) >= 0 for number in numbers)


def test_the_last_of_several_stages_is_cut_short():
  small = helpers.small()
  model = darec.model(small.sizes, embed=4, heads=(5, 4), batch=16)
  stage, _ = sweep.last_stage(model, small.data, darec.Hyper(), 2)
  assert stage.name == model.stages[-1].name
  visits = stage.epoch(jax.random.key(0), small.data)
  assert {len(leaf) for leaf in jax.tree.leaves(visits)} == {2}


def test_settings_of_a_case_are_those_of_its_config():
  for name, (_, argument, settings) in sweep.CASES.items():
    config = sweep.config_of(name)
    assert config.model.to_dict().items() >= settings.items()
    assert ('synthetic' in config.data.kind) == ('quick' in argument)

from benchmarks import shared_vae
from tests import helpers


def test_both_forms_end_at_the_same_parameters():
  small = helpers.implicit()
  settings = dict(hidden=(8,), latent=4, batch=16)
  row = shared_vae.compare('small', small.data, small.sizes, settings, 3, 1, 0)
  name, *numbers, gap = row.strip('| ').split(' | ')
  assert name == 'small'
  assert float(gap) < 1e-4
  assert all(float(number.replace(',', '')) >= 0 for number in numbers)

import pytest

from benchmarks import autorec
from tests import helpers


@pytest.mark.parametrize('axis', ['user', 'item'])
def test_both_forms_end_at_the_same_parameters(axis):
  small = helpers.small()
  row = autorec.compare('small', small.data, small.sizes, axis, 16, 8, 2)
  name, batch, *numbers, gap = row.strip('| ').split(' | ')
  assert (name, batch) == (f'small {axis[0].upper()}-', '16')
  assert float(gap) < 1e-4
  assert all(float(number.replace(',', '')) >= 0 for number in numbers)

import numpy as np
import pytest

from experiments import arguments, cells
from xdomain.runs import spec as specs


@pytest.mark.parametrize(
  'field',
  [
    'method',
    'model',
    'seed',
    'split',
    'protocol',
    'view',
    'reviews',
    'epochs',
    'patience',
    'every',
  ],
)
def test_records_that_differ_in_what_decides_them_are_told_apart(field):
  plain = specs.plain(specs.from_config(arguments.load('configs/bias.py:quick')))
  assert field in plain
  other = plain | {field: 'another'}
  assert cells.identity(plain, {}) != cells.identity(other, {})


def test_what_users_came_to_is_of_the_member_and_of_the_measure(tmp_path):
  np.savez(
    tmp_path / 'test.npz',
    user=[0, 0, 1],
    truth=[1.0, 1.0, 1.0],
    rating=[[1.0, 1.0, 1.0], [2.0, 4.0, 3.0]],
    sampled=[[0, 0, 0], [0, 3, 99]],
    full=[[0, 0, 0], [7, 99, 1]],
  )
  first, second = (cells.Found({'failed': False}, tmp_path, k) for k in (0, 1))
  measures = ('rmse', 'mae', 'sampled hr@5', 'full hr@5', 'full mrr@5')
  assert cells.complete(second, measures)['by_user'] == {
    'n': [2, 1],
    'rmse': [10, 4],
    'mae': [4, 2],
    'sampled hr@5': [2, 0],
    'full hr@5': [0, 1],
    'full mrr@5': [0, 0.5],
  }
  assert cells.complete(first, ('rmse',))['by_user']['rmse'] == [0, 0]

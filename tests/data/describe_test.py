from tests.data import toys
from xdomain.data import describe, filters


def test_the_description_shows_every_step_within_80_columns():
  dataset = filters.at_least(toys.aligned(), source=2, target=2)
  lines = describe.lines(dataset)
  text = '\n'.join(lines)
  assert lines[0] == 'books-films'
  assert max(map(len, lines)) <= 80
  assert all(step in text for step, _ in dataset.trail)
  assert text.count('users in both') == 1 + len(dataset.trail)
  assert '31.250% dense' in text  # 5 of 4 x 4
  assert 'repeated ratings dropped: 3 and 0' in text

"""Every mistake of `tests.planted` can still be planted."""

import pytest

from tests import planted


@pytest.mark.parametrize('mistake', planted.MISTAKES, ids=lambda m: m.kind)
def test_a_mistake_has_one_place(mistake):
  text = (planted.ROOT / 'xdomain' / mistake.path).read_text()
  assert text.count(mistake.right) == 1

"""Flags of several numbers are parsed, or refused in one line."""

import pytest

from benchmarks import numbers


def test_numbers_are_parsed_as_their_type():
  assert numbers.Positive(int).parse('256,1024') == [256, 1024]
  assert numbers.Positive(float).parse('0.2,5') == [0.2, 5.0]
  assert numbers.Positive(int).parse('') == []


@pytest.mark.parametrize('text', ['abc', '1.5', '0', '-2', '1,,2'])
def test_a_list_without_positive_whole_numbers_is_refused(text):
  with pytest.raises(ValueError, match='expected positive whole numbers between'):
    numbers.Positive(int).parse(text)


@pytest.mark.parametrize('text', ['nan', 'inf', '0.1 0.2'])
def test_a_list_without_positive_numbers_is_refused(text):
  with pytest.raises(ValueError, match='expected positive numbers between'):
    numbers.Positive(float).parse(text)

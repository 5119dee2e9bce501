"""Counts of a pair, and a dataset's trail as text."""

import textwrap

from xdomain.data import views
from xdomain.data.types import Dataset, Pair


def counts(pair: Pair) -> dict[str, int]:
  """Users, items and ratings of both domains, as a step of the trail holds them.

  A user counts in each domain that holds a rating by this user.
  """
  in_source, in_target = (views.per_user(part) > 0 for part in pair[:2])
  return {
    'users': pair.target.n_users,
    'source_users': int(in_source.sum()),
    'source_items': pair.source.n_items,
    'source_ratings': pair.source.user.size,
    'target_users': int(in_target.sum()),
    'target_items': pair.target.n_items,
    'target_ratings': pair.target.user.size,
    'shared_users': int((in_source & in_target).sum()),
  }


def lines(dataset: Dataset) -> list[str]:
  """The name of a dataset, and what every step of its trail left of both domains."""
  text = [dataset.name]
  for step, count in dataset.trail:
    text += textwrap.wrap(step, 80, initial_indent='  ', subsequent_indent='  ')
    text += [_line(domain, count) for domain in ('source', 'target')]
    both = f'    {count["shared_users"]:,} users in both'
    if 'source_duplicates' in count:
      both += (
        f'; repeated ratings dropped: {count["source_duplicates"]:,} and '
        f'{count["target_duplicates"]:,}'
      )
    text.append(both)
  return text


def _line(domain, count):
  users, items, ratings = (
    count[f'{domain}_{what}'] for what in ('users', 'items', 'ratings')
  )
  return (
    f'    {domain} {users:>9,} users {items:>9,} items {ratings:>11,} ratings '
    f'{ratings / max(1, users * items):>8.3%} dense'
  )

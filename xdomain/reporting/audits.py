"""An audit of a pair as text."""

from xdomain.data import audit
from xdomain.reporting import render


def markdown(found: audit.Audit) -> str:
  """A page: the findings, the twins and the buckets as tables."""
  parts = [f'# Audit of {found.name}', _verdict(found)]
  parts.append(
    render.markdown(
      [
        {
          'what': _first_capital(each.text),
          'count': _count(each),
          'share': _share(each),
        }
        for each in found.findings
      ]
    )
  )
  if found.twins:
    parts += [
      'Twins with the most similar users:',
      render.markdown(
        [
          {'source': f'`{source}`', 'target': f'`{target}`', 'Jaccard': f'{alike:.3f}'}
          for source, target, alike in found.twins
        ]
      ),
    ]
  names = next(iter(found.buckets.values()))
  parts += [
    'Numbers of users and items by their interactions:',
    render.markdown(
      [
        {'': of} | {name: f'{counts[name]:,}' for name in names}
        for of, counts in found.buckets.items()
      ]
    ),
  ]
  return '\n\n'.join(parts) + '\n'


def rows(found: audit.Audit) -> list[dict[str, str]]:
  """A row a finding, for a terminal."""
  return [
    {
      'finding': _first_capital(each.text),
      'count': _count(each),
      'share': _share(each),
      'fault': 'fault' * each.fault,
    }
    for each in found.findings
  ]


def _verdict(found):
  if not found.faults:
    return 'No fault was found.'
  names = '; '.join(each.text for each in found.faults)
  return f'**Faults:** {names}.'


def _first_capital(text):
  return text[0].upper() + text[1:]


def _count(finding):
  whole = float(finding.count).is_integer()
  return f'{finding.count:,.0f}' if whole else f'{finding.count:,.1f}'


def _share(finding):
  return '' if finding.of is None else f'{finding.count / max(1, finding.of):.2%}'

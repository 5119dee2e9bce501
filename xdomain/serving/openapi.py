"""The description of the service as OpenAPI, and a page of it."""

import html
import json
from typing import Any

import xdomain
from xdomain.serving import asking, portable

TEXT = {'type': 'string', 'minLength': 1, 'maxLength': asking.LONGEST}
K = {'type': 'integer', 'minimum': 1, 'default': 10}
ITEMS = {
  'oneOf': [
    {'type': 'array', 'items': TEXT},
    {
      'type': 'object',
      'propertyNames': TEXT,
      'additionalProperties': {
        'type': ['number', 'null'],
        'minimum': -asking.HIGHEST,
        'maximum': asking.HIGHEST,
      },
    },
  ],
  'description': 'Item ids, or an object of ids and ratings.',
}
ASK = {
  'type': 'object',
  'description': 'Either user, or at least one item as source or target.',
  'additionalProperties': False,
  'properties': {
    'user': {**TEXT, 'description': 'A user of the data.'},
    'source': ITEMS,
    'target': ITEMS,
    'k': K,
    'exclude_seen': {
      'type': 'boolean',
      'default': True,
      'description': 'Leave out the target items of the user.',
    },
    'explain': {
      'type': 'boolean',
      'default': False,
      'description': 'With the items of the history that raised each score most.',
    },
    'model': {**TEXT, 'description': 'By default the first one.'},
  },
}
PARAMETERS = {
  'item': TEXT,
  'domain': {'enum': list(portable.DOMAINS)},
  'k': K,
  'q': {'type': 'string'},
  'limit': {'type': 'integer', 'minimum': 1, 'maximum': 100, 'default': 10},
  'model': TEXT,
}
EXAMPLE = {'source': ['Heat (1995)'], 'k': 3, 'explain': True}
ANSWER = {
  'model': 'shared_vae_cold',
  'version': '0123456789ab',
  'items': [
    {
      'item': 'Dune',
      'score': 4.2,
      'why': [{'item': 'Heat (1995)', 'domain': 'source', 'contribution': 0.7}],
    }
  ],
}
ERROR = {'error': 'one sentence', 'unknown': {'source': ['an id']}}
ERRORS = {
  '400': 'The request is malformed.',
  '401': 'The bearer token is missing or wrong.',
  '404': 'An id is not in the data; `unknown` lists all such ids.',
  '408': 'The body does not arrive in time.',
  '413': 'The body is too large.',
  '503': 'Too many requests wait.',
}


def description() -> dict[str, Any]:
  """The OpenAPI document."""
  body = {'application/json': {'schema': ASK, 'example': EXAMPLE}}
  recommend = _operation('The best target items of a user', ANSWER)
  recommend['requestBody'] = {'required': True, 'content': body}
  items = ('q', 'domain', 'limit', 'model')
  return {
    'openapi': '3.1.0',
    'info': {'title': 'xdomain', 'version': xdomain.__version__},
    'paths': {
      '/recommend': {'post': recommend},
      '/similar': {
        'get': _operation(
          'Target items for a user whose one interaction is an item',
          ANSWER,
          ('item', 'domain', 'k', 'model'),
        )
      },
      '/items': {
        'get': _operation(
          'Items whose ids contain q, the popular ones first',
          {'items': ['Heat (1995)']},
          items,
        )
      },
      '/health': {'get': _operation('The models that answer', {'status': 'ok'})},
      '/metrics': {
        'get': {
          'summary': 'Metrics in the text format of Prometheus',
          'responses': {'200': {'description': 'OK', 'content': {'text/plain': {}}}},
        }
      },
    },
    'security': [{}, {'bearer': []}],
    'components': {'securitySchemes': {'bearer': {'type': 'http', 'scheme': 'bearer'}}},
  }


def _operation(summary, answer, parameters=()):
  responses: dict[str, Any] = {
    '200': {'description': 'OK', 'content': {'application/json': {'example': answer}}}
  }
  for status, text in ERRORS.items():
    content = {'application/json': {'example': ERROR}}
    responses[status] = {'description': text, 'content': content}
  given = [
    {
      'name': name,
      'in': 'query',
      'required': name == 'item',
      'schema': PARAMETERS[name],
    }
    for name in parameters
  ]
  return {'summary': summary, 'parameters': given, 'responses': responses}


def page() -> str:
  """The same as HTML, which loads nothing from elsewhere."""
  parts = []
  for path, methods in description()['paths'].items():
    for method, operation in methods.items():
      parts.append(f'<h2><code>{method.upper()} {path}</code></h2>')
      parts.append(f'<p>{html.escape(operation["summary"])}.</p>')
      names = [each['name'] for each in operation.get('parameters', ())]
      if names:
        parts.append(f'<p>Parameters: <code>{", ".join(names)}</code>.</p>')
      if 'requestBody' in operation:
        parts += ['<p>Body:</p>', _block(ASK['properties'])]
        parts += ['<p>For example:</p>', _block(EXAMPLE)]
      answer = operation['responses']['200']['content'].get('application/json')
      if answer:
        parts += ['<p>Answer:</p>', _block(answer['example'])]
  errors = ''.join(f'<li>{code}: {html.escape(text)}' for code, text in ERRORS.items())
  return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>xdomain: API</title>
<style>:root{{color-scheme:light dark}}body{{font:16px system-ui;max-width:50rem;
margin:2rem auto;padding:0 1rem}}pre{{overflow:auto;padding:.6rem;
background:#8882}}</style><h1>API</h1>
<p>The same as <a href="openapi.json">OpenAPI</a>. <a href="./">To the page</a>.</p>
{''.join(parts)}<h2>Errors</h2><p>Every error is an object with one sentence.</p>
<ul>{errors}</ul>{_block(ERROR)}</html>"""


def _block(content):
  return f'<pre>{html.escape(json.dumps(content, indent=2))}</pre>'

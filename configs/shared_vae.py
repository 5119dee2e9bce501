r"""SharedVAE, its ablations, its cold-start form and its auxiliary form.

python -m experiments.main --config=configs/shared_vae.py
python -m experiments.main --config=configs/shared_vae.py:single
python -m experiments.main --config=configs/shared_vae.py:cold
python -m experiments.main --config=configs/shared_vae.py:aux
python -m experiments.main --config=configs/shared_vae.py:amazon

Minutes on two CPU cores. Expected test HR@10 on the MovieLens pair: .766 (shared) and
.650 (cold).
"""

from ml_collections import config_dict

from configs import common

# The rows of Tables 3-8 and Figure 3, and how each differs from the default.
VARIANTS = (
  'shared',
  'mmd0',  # without the alignment
  'beta0',  # positives have no extra weight
  'single',  # the target alone
  'single0',  # the same without beta
  'single_fair',  # the target alone, as large as merged
  'single_fair0',
  'merged',  # both domains merged
  'merged0',
  'cold',  # the cold-start model
  'generic',  # the default model, tested on cold-start users
  'partial',  # the same with a share of their target positives, config.split.shown
  'aux',  # with auxiliary user vectors
  'cold_aux',
)
METHODS = dict.fromkeys(
  ('single', 'single0', 'single_fair', 'single_fair0', 'merged', 'merged0'),
  'single_vae',
) | {
  'cold': 'shared_vae_cold',
  'cold_aux': 'shared_vae_cold',
  'aux': 'shared_vae_aux',
}
LR, BETA, ALIGN = ('log', 1e-4, 1e-2), ('log', 0.3, 100.0), ('log', 0.01, 1000.0)
WITHOUT_ALIGN = dict(lr=LR, beta=BETA)
WITHOUT_BOTH = dict(lr=LR, l2=('log', 1e-6, 1e-2))
# Search spaces by variant; an ablation does not search what it leaves out.
SPACES = (
  dict.fromkeys(('mmd0', 'single', 'single_fair', 'merged'), WITHOUT_ALIGN)
  | dict.fromkeys(('single0', 'single_fair0', 'merged0'), WITHOUT_BOTH)
  | {
    'beta0': dict(lr=LR, align=ALIGN),
    'cold': dict(lr=LR, beta=BETA, mapping=('log', 0.1, 100.0)),
    'cold_aux': dict(lr=LR, beta=BETA, mapping=('log', 0.1, 100.0)),
  }
)
SPACE = dict(lr=LR, beta=BETA, align=ALIGN)  # of the other variants
# The best of eight trials of each on MovieLens (results/searches). An ablation keeps
# the values of the variant from which it leaves something out.
SHARED = dict(lr=1e-3, beta=10.0, align=1.0)
SINGLE = dict(lr=5e-4, beta=10.0)
MERGED = dict(lr=5e-4, beta=3.0)
COLD = dict(lr=1e-3, beta=3.0, align=1.0, mapping=10.0)
SELECTED = {
  'single': SINGLE,
  'single0': SINGLE | dict(beta=0.0),
  'single_fair': SINGLE,
  'single_fair0': SINGLE | dict(beta=0.0),
  'merged': MERGED,
  'merged0': MERGED | dict(beta=0.0),
  'cold': COLD,
  'cold_aux': COLD,
  'mmd0': SHARED | dict(align=0.0),
  'beta0': SHARED | dict(beta=0.0),
}
AMAZON_BETA = 90.0  # as in the published code
BESIDE = {'shared': ('single',), 'cold': ('generic',), 'aux': ('shared',)}
PROTOCOLS = dict.fromkeys(('cold', 'generic', 'cold_aux'), 'cold_start')
PROTOCOLS['partial'] = 'partial'


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, variant=VARIANTS, **common.RANKING_ARGUMENT)
  config = variant(arg.variant, arg)
  for other in BESIDE.get(arg.variant, ()):
    config.beside[other] = variant(other, arg)
  return config


def variant(name: str, arg: common.Argument):
  """Returns the config of one of `VARIANTS`."""
  method = METHODS.get(name, 'shared_vae')
  hyper = SELECTED.get(name, SHARED) | dict(kl=1.0, l2=1e-4)
  if arg.data == 'amazon' and hyper['beta']:
    hyper.update(lr=1e-3, beta=AMAZON_BETA)
  return common.ranking_method(
    method,
    model=_model(name, arg),
    hyper=hyper,
    search=dict(hyper=SPACES.get(name, SPACE), model=dict(latent=(32, 64, 128, 256))),
    protocol=common.protocol_of(PROTOCOLS.get(name, 'leave_one_out'), arg),
    view='merged' if name.startswith('merged') else 'both',
    data=common.implicit_block(arg),
    reviews='aux' in name and arg.data == 'amazon',
    **_length(arg),
    name='shared_vae' if name == 'shared' else f'shared_vae_{name}',
  )


def _model(name, arg):
  """Returns the widths of section 5.3 of the paper; smaller ones for a first try."""
  if arg.quick or arg.data == 'synthetic':
    model = dict(hidden=(32,), latent=16, batch=32)
  elif arg.data == 'amazon':
    model = dict(hidden=(512, 256), latent=128, batch=128)
  else:
    model = dict(hidden=(256,), latent=128, batch=32)
  if name.startswith(('merged', 'single_fair')):
    model['hidden'] = tuple(2 * width for width in model['hidden'])
    model['latent'] *= 2
  if name in ('aux', 'cold_aux'):
    model['side'] = (256, 128)
  return model | dict(chunk=config_dict.placeholder(int))


def _length(arg):
  """Returns at most 100 epochs, as in the paper."""
  if arg.quick:
    return dict(epochs=20, patience=20)
  return dict(epochs=100, patience=20 if arg.full else 10)

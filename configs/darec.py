r"""U-DARec and I-DARec, beside AutoRec and the bias floor on the same split.

python -m experiments.main --config=configs/darec.py:item
python -m experiments.main --config=configs/darec.py:user
python -m experiments.main --config=configs/darec.py:item,pair=3   # Amazon
python -m experiments.main --config=configs/darec.py:item,end_to_end   # an extension

One to two minutes on two CPU cores. Expected test RMSE on the MovieLens pair: .878
(item) and .889 (user). The paper's Table 2 has the Amazon pairs, for example .9665 for
I-DARec on pair 1 with 80 % of the ratings for training.
"""

from configs import autorec, bias, common

SEARCH = dict(
  hyper=dict(
    lr=('log', 3e-5, 3e-3),
    lam=('log', 1e-6, 1e-2),
    beta=('log', 1e-3, 1.0),
    mu=('log', 1e-3, 1.0),
    alpha=('log', 1e-5, 1e-2),
    offset=(0.0, 1.0),
  ),
  model=dict(
    dropped=(0.0, 0.3, 0.6),
    embed=(100, 200, 500),
    from_autorec=(False, True),
    initial=('glorot', 'small'),
  ),
)
# The best of eight trials on MovieLens (results/searches), from small initial weights;
# the AutoRecs are those of configs/autorec.py.
SELECTED = {
  'item': dict(
    alpha=2e-4,
    alpha_source=2e-4,
    offset_autorec=1.0,
    lam=3e-5,
    beta=0.01,
    mu=0.01,
  ),
  'user': dict(
    alpha=1e-4,
    alpha_source=1e-4,
    offset_autorec=0.0,
    lam=1e-5,
    beta=0.1,
    mu=0.01,
  ),
}


def get_config(arg: str | None = None):
  of_autorec = ','.join(w for w in (arg or '').split(',') if w != 'end_to_end')
  arg = common.parse_arg(
    arg, axis=('item', 'user'), end_to_end=False, **common.ARGUMENT
  )
  config = common.method(
    'darec',
    model=dict(
      axis=arg.axis,
      embed=500,
      extractor=100,
      heads=(200, 400),
      classifier=50,
      batch=128,
      initial='small',
      dropped=0.0,
      from_autorec=arg.end_to_end,
      end_to_end=arg.end_to_end,
    ),
    hyper=dict(
      lr=1e-3,
      target=1.0,
      domain=1.0,
      offset=1.0,
      penalise_bias=1.0,
      **SELECTED[arg.axis],
    ),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'darec_{arg.axis}' + '_end_to_end' * arg.end_to_end
  config.beside.bias = bias.get_config()
  config.beside.autorec = autorec.get_config(of_autorec)
  if arg.quick:
    config.model.update(embed=32, extractor=16, heads=(16, 16), classifier=8, batch=32)
    config.hyper.lr = 1e-2
  return config

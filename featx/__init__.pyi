from .backbones.load import Backbone as Backbone
from .backbones.load import load_backbone as load_backbone
from .backbones.load import register_backbone as register_backbone
from .backbones.registry import get_backbone_spec as get_backbone_spec
from .backbones.registry import list_backbones as list_backbones
from .cache.reader import Cache as Cache
from .cache.reader import open_cache as open_cache
from .embedding import RunOptions as RunOptions
from .embedding import embed as embed
from .errors import FeatxError as FeatxError
from .extraction import ExtractionReport as ExtractionReport
from .extraction import extract as extract
from .fitting import evaluate as evaluate
from .fitting import fit_head as fit_head
from .fitting import split_cache as split_cache
from .heads.classifier import HeadClassifier as HeadClassifier
from .heads.evaluate import Evaluation as Evaluation
from .heads.persist import Head as Head
from .heads.persist import load_head as load_head
from .prediction import Prediction as Prediction
from .prediction import predict as predict

__version__: str

"""featx: frozen convnets turn images into embeddings once; everything after reads one file.

The public names stand in ``__init__.pyi`` and are loaded when first used: ``import featx`` brings
in neither torch nor scikit-learn.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Name the extra where torch is missing.

All modules that use torch import this one before it.
"""

from t2lib._extras import need

need("torch", "safetensors", "tokenizers")

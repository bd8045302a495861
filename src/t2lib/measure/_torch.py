"""Name the extra where torch is missing; imported ahead of torch by all that use it."""

from t2lib._extras import need

need("torch", "safetensors", "tokenizers")

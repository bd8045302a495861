"""Name the extra where matplotlib is missing, ahead of all figures."""

from t2lib._extras import need

need("matplotlib", "seaborn")

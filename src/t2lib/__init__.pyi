"""The public names and where each lives: read by type checkers, and by ``__init__`` at run time.

They are what most readers need. What is rarer is imported from its module, such as
``t2lib.costs``.
"""

from t2lib import figures as figures
from t2lib.data.answers import chance as chance
from t2lib.data.measured import (
    load_passk as load_passk,
)
from t2lib.data.measured import (
    task_summary as task_summary,
)
from t2lib.data.readers import (
    read_counts as read_counts,
)
from t2lib.data.readers import (
    read_inspect as read_inspect,
)
from t2lib.data.readers import (
    read_lm_eval as read_lm_eval,
)
from t2lib.data.readers import (
    read_logp as read_logp,
)
from t2lib.data.readers import (
    read_measurements as read_measurements,
)
from t2lib.data.readers import (
    read_runs as read_runs,
)
from t2lib.data.readers import (
    write_suite as write_suite,
)
from t2lib.data.sources import (
    list_sources as list_sources,
)
from t2lib.data.sources import (
    load_source as load_source,
)
from t2lib.data.sources import (
    load_table as load_table,
)
from t2lib.data.store import (
    list_suites as list_suites,
)
from t2lib.data.store import (
    load_runs as load_runs,
)
from t2lib.data.store import (
    load_suite as load_suite,
)
from t2lib.data.tables import (
    passk_table as passk_table,
)
from t2lib.laws import LawsPackage as _LawsPackage
from t2lib.laws.accuracy import AccuracyLaw as AccuracyLaw
from t2lib.laws.io import (
    list_laws as list_laws,
)
from t2lib.laws.io import (
    load_law as load_law,
)
from t2lib.laws.power import (
    ChinchillaLaw as ChinchillaLaw,
)
from t2lib.laws.power import (
    InteractionLaw as InteractionLaw,
)
from t2lib.laws.power import (
    LossLaw as LossLaw,
)
from t2lib.passk import (
    log_pass_at_k as log_pass_at_k,
)
from t2lib.passk import (
    pass_at_k as pass_at_k,
)
from t2lib.passk import (
    pass_at_k_from_counts as pass_at_k_from_counts,
)
from t2lib.planning.budget import Budget as Budget
from t2lib.planning.design import next_runs as next_runs
from t2lib.planning.loss_plan import (
    plan_loss as plan_loss,
)
from t2lib.planning.optimum import (
    allocate as allocate,
)
from t2lib.planning.optimum import (
    allocate_total as allocate_total,
)
from t2lib.planning.optimum import (
    frontier as frontier,
)
from t2lib.planning.optimum import (
    isoflop as isoflop,
)
from t2lib.planning.tolerance import near_optimal as near_optimal
from t2lib.planning.trust import (
    ExtrapolationError as ExtrapolationError,
)
from t2lib.selection.selected_law import (
    allocate_selected as allocate_selected,
)
from t2lib.selection.verifier import (
    Verifier as Verifier,
)
from t2lib.units import parse_quantity as parse_quantity
from t2lib.validation.comparison import (
    compare as compare,
)
from t2lib.validation.comparison import (
    fit as fit,
)
from t2lib.validation.empirical import (
    empirical_optimum as empirical_optimum,
)
from t2lib.validation.empirical import (
    empirical_shift as empirical_shift,
)

# A package that can be called: ``laws()`` lists the shipped fits.
laws: _LawsPackage
__version__: str

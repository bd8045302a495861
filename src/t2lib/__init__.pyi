"""The public names and where each lives: read by type checkers, and by ``__init__`` at run time."""

from t2lib import figures as figures
from t2lib.costs.base import DenseCost as DenseCost
from t2lib.costs.memory import MemoryCost as MemoryCost
from t2lib.costs.money import (
    MoneyCost as MoneyCost,
)
from t2lib.costs.money import (
    price_per_flop as price_per_flop,
)
from t2lib.costs.rental import Rental as Rental
from t2lib.costs.totals import (
    ServedModel as ServedModel,
)
from t2lib.costs.totals import (
    Traffic as Traffic,
)
from t2lib.costs.totals import (
    model_cost as model_cost,
)
from t2lib.costs.transformer import (
    ShapeLadder as ShapeLadder,
)
from t2lib.costs.transformer import (
    TransformerCost as TransformerCost,
)
from t2lib.costs.wrappers import (
    RepeatedData as RepeatedData,
)
from t2lib.costs.wrappers import (
    VerificationCost as VerificationCost,
)
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
    list_tables as list_tables,
)
from t2lib.data.sources import (
    load_source as load_source,
)
from t2lib.data.sources import (
    load_table as load_table,
)
from t2lib.data.store import (
    iter_suite as iter_suite,
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
from t2lib.data.tables import (
    passk_table_from_counts as passk_table_from_counts,
)
from t2lib.laws import LawsPackage as _LawsPackage
from t2lib.laws.accuracy import AccuracyLaw as AccuracyLaw
from t2lib.laws.counts import CountLaw as CountLaw
from t2lib.laws.families import fit_families as fit_families
from t2lib.laws.io import (
    list_laws as list_laws,
)
from t2lib.laws.io import (
    load_law as load_law,
)
from t2lib.laws.items import ItemLaw as ItemLaw
from t2lib.laws.mixture import MixLaw as MixLaw
from t2lib.laws.pooling import (
    ExponentPrior as ExponentPrior,
)
from t2lib.laws.pooling import (
    learned_prior as learned_prior,
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
    beta_pass_at_k as beta_pass_at_k,
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
from t2lib.planning.goal import least_cost as least_cost
from t2lib.planning.loss_map import (
    LossMap as LossMap,
)
from t2lib.planning.loss_map import (
    loss_map as loss_map,
)
from t2lib.planning.loss_plan import (
    LossPlan as LossPlan,
)
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
from t2lib.planning.optimum import (
    isoflop_total as isoflop_total,
)
from t2lib.planning.profile import profile_intervals as profile_intervals
from t2lib.planning.samples import (
    inference_budget as inference_budget,
)
from t2lib.planning.samples import (
    samples_for as samples_for,
)
from t2lib.planning.samples import (
    samples_to_reach as samples_to_reach,
)
from t2lib.planning.scenarios import (
    compare_costs as compare_costs,
)
from t2lib.planning.scenarios import (
    demand_regret as demand_regret,
)
from t2lib.planning.tolerance import near_optimal as near_optimal
from t2lib.planning.tradeoffs import (
    task_pareto as task_pareto,
)
from t2lib.planning.tradeoffs import (
    task_tradeoffs as task_tradeoffs,
)
from t2lib.planning.trust import (
    ExtrapolationError as ExtrapolationError,
)
from t2lib.selection.adaptive import (
    AdaptiveItemLaw as AdaptiveItemLaw,
)
from t2lib.selection.adaptive import (
    adaptive_pass_at_k as adaptive_pass_at_k,
)
from t2lib.selection.adaptive import (
    adaptive_samples as adaptive_samples,
)
from t2lib.selection.kscaling import fit_kscaling as fit_kscaling
from t2lib.selection.selected_law import (
    allocate_selected as allocate_selected,
)
from t2lib.selection.selected_law import (
    selected_cost as selected_cost,
)
from t2lib.selection.selected_law import (
    selected_law as selected_law,
)
from t2lib.selection.verifier import (
    Verifier as Verifier,
)
from t2lib.selection.verifier import (
    best_of_k as best_of_k,
)
from t2lib.selection.voting import (
    MajorityVote as MajorityVote,
)
from t2lib.selection.voting import (
    majority_vote as majority_vote,
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
from t2lib.validation.protocol import (
    load_validation as load_validation,
)
from t2lib.validation.protocol import (
    validate as validate,
)
from t2lib.validation.signal import (
    signal_to_noise as signal_to_noise,
)
from t2lib.validation.signal import (
    task_subsets as task_subsets,
)

# A package that can be called: ``laws()`` lists the shipped fits.
laws: _LawsPackage
__version__: str

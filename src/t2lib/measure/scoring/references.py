"""Name checkpoints, and tell their training tokens from the name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from t2lib import _files

PREFIX = "hf:"
PYTHIA_TOKENS_PER_STEP = 2_097_152  # Biderman et al. 2023, section 2: 1,024 sequences of 2,048
PYTHIA_STEPS = 143_000  # of the revision "main"
# All sizes, deduplicated or not, other seeds (PolyPythias), and the first release: its models with
# batches of 4M tokens were renamed as if trained on 2M (model cards of EleutherAI/pythia-*-v0).
_PYTHIA = re.compile(
    r"(?:.*/)?EleutherAI/pythia-(14m|31m|70m|160m|410m|1b|1\.4b|2\.8b|6\.9b|12b)"
    r"(-deduped)?(-v0)?(-((data|weight)-)?seed\d+)?"
)


@dataclass(frozen=True)
class _Recipe:
    """Hold the tokens of one optimiser step, and the first stage's steps.

    ``stage1_steps`` is None where no second stage follows.
    """

    tokens_per_step: int
    stage1_steps: int | None = None


# allenai/OLMo: configs/official-* (global_train_batch_size × max_sequence_length) and the last
# stage-1 checkpoints that its README lists. The second stage goes on from there with the same
# batch, and its revisions count their own steps and tokens only.
_OLMO = {
    "OLMo-1B": _Recipe(2048 * 2048),
    "OLMo-7B": _Recipe(2160 * 2048),
    "OLMoE-1B-7B-0924": _Recipe(1024 * 4096),
    "OLMo-2-0425-1B": _Recipe(512 * 4096, 1_907_359),
    "OLMo-2-1124-7B": _Recipe(1024 * 4096, 928_646),
    "OLMo-2-1124-13B": _Recipe(2048 * 4096, 596_057),
    "OLMo-2-0325-32B": _Recipe(2048 * 4096, 721_901),
}
_OLMO_NAME = re.compile(r"(?:.*/)?allenai/(OLMo[\w.-]*?)(-hf)?")
_OLMO_REVISION = re.compile(r"(?:stage(\d+)-(?:ingredient\d+-)?)?step(\d+)-tokens(\d+)B")


@dataclass(frozen=True)
class Reference:
    """Name a checkpoint by repository or local folder, and revision."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def tokens(self) -> int | None:
        """Return the training tokens behind the revision, None where not known.

        All stages count. Known are Pythia and those OLMo models whose tokens per step are: the
        billions in their revisions' names are rounded, and those of a second stage count that
        stage alone. Averages of several runs ("soups", the ``main`` of OLMo 2) have no one number.
        """
        if _PYTHIA.fullmatch(self.name):
            return _pythia_tokens(self.revision or "main")
        model = _OLMO_NAME.fullmatch(self.name)
        recipe = _OLMO.get(model[1]) if model else None
        return None if recipe is None else _olmo_tokens(recipe, self.revision or "main")


def parse_reference(text: str) -> Reference:
    """Read a reference to a checkpoint.

    It is ``hf:REPO[@REVISION]`` or ``hf:/FOLDER[@SUBFOLDER]``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not text.startswith(PREFIX) or not text.removeprefix(PREFIX).strip("@/ "):
        raise ValueError(
            f"reference must look like hf:REPO@REVISION or hf:/path/to/folder, got {text!r}."
        )
    location = text.removeprefix(PREFIX)
    if _files.is_folder(location):  # a folder's own name may hold an @
        return Reference(location, None)
    name, _, revision = location.rpartition("@") if "@" in location else (location, "", "")
    return Reference(name, revision or None)


def _pythia_tokens(revision: str) -> int | None:
    """Count the tokens of a revision of Pythia."""
    if revision == "main":
        return PYTHIA_STEPS * PYTHIA_TOKENS_PER_STEP
    step = re.fullmatch(r"step(\d+)", revision)
    if step is None or int(step[1]) > PYTHIA_STEPS:
        return None
    return int(step[1]) * PYTHIA_TOKENS_PER_STEP


def _olmo_tokens(recipe: _Recipe, revision: str) -> int | None:
    """Count the tokens of all stages.

    None for a revision that does not fit the recipe.
    """
    parts = _OLMO_REVISION.fullmatch(revision)
    if parts is None:
        return None
    stage, steps, billions = int(parts[1] or 1), int(parts[2]), int(parts[3])
    tokens = steps * recipe.tokens_per_step
    # Names round up or to the nearest: a wider gap means that this is not how it was trained.
    if abs(tokens - billions * 10**9) >= 10**9:
        return None
    if stage == 1:
        in_second_stage = recipe.stage1_steps is not None and steps > recipe.stage1_steps
        return None if in_second_stage else tokens
    if stage == 2 and recipe.stage1_steps is not None:
        return recipe.stage1_steps * recipe.tokens_per_step + tokens
    return None

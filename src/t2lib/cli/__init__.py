"""Run the command ``t2`` with one module per command.

A command's module is imported only when its name is typed.

``t2 --help`` answers at once, and a command loads NumPy, pandas or torch only when it runs. The
package may import every other package of the library, and none imports it.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from t2lib.cli import _command

# Each name is a module of this package with ``add_arguments(parser)`` and ``run(args)``.
COMMANDS = {
    "plan": "best N, D and k for a budget under a fitted law",
    "samples": "the k that a served model affords, and what it buys",
    "cost": "what one given model costs to train, hold and serve",
    "laws": "list the shipped laws with what each is good for",
    "import": "turn logs and tables of other tools into a suite",
    "fit": "fit a law to logs, tables, a suite or a public source, with bootstrap",
    "passk": "pass@k of models, with intervals and what guessing reaches",
    "suite": "which runs to train next",
    "chance": "pass@k of samplers that never read the question",
    "data": "list or fetch public measurements",
    "posttrain": "post-train the checkpoints of a suite and score them again",
    "export": "write a checkpoint as a Hugging Face folder",
    "collect": "train and score what a suite still lacks",
    "sample": "sample answers of a model and count the correct ones",
    "report": "your measurements as one page: data, laws, plan, and what to measure next",
    "book": "run the chapters that changed and build the book",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Returns
    -------
    int
        0 on success, 2 for bad input, 1 for any other failure.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    with _command.lasting_streams() as out, _command.warnings_as_notes():
        args = argparse.Namespace()

        def command() -> int:
            make_parser(words).parse_args(words, args)
            code: int = args.command(args)
            return code

        return out.end(_command.run(command, lambda text: _command.as_flags(text, args)))


def make_parser(words: Sequence[str], *, every: bool = False) -> argparse.ArgumentParser:
    """Make the parser of all commands, with the options of the one that ``words`` name.

    With ``every`` the options of all commands are there.
    """
    from t2lib import __version__

    parser = _command.Parser(
        prog="t2",
        description="Train-to-Test scaling laws: choose N, D and k for a budget.",
        epilog="t2 COMMAND --help shows a command's options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"t2lib {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes a shell complete commands and options, and stop",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = next((word for word in words if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == named or every:
            _add_command(commands, name, summary)
        else:
            commands.add_parser(name, help=summary)
    return parser


class _PrintCompletion(argparse.Action):
    """Print the completion script of a shell, and stop."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        """Print the script for the shell named."""
        import shtab

        parsers = make_parser([], every=True)
        _complete_files(parsers)
        print(shtab.complete(parsers, values))
        parser.exit()


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let options that take a file complete to files."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _complete_files(child)
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


def _add_command(
    commands: argparse._SubParsersAction[_command.Parser], name: str, summary: str
) -> None:
    """Import a command's module and add its options."""
    module = importlib.import_module(f"t2lib.cli.{name}{'_' * keyword.iskeyword(name)}")
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=module.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=module.run)
    _command.name_flags(parser)
    module.add_arguments(parser)

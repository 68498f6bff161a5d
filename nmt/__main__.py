"""The console command: `nmt COMMAND [key=value ...]` does what `python -m nmt.COMMAND [key=value ...]` does."""

import difflib
import runpy
import sys

from nmt import __version__

COMMANDS = {
    "train": "train a translator on a parallel corpus",
    "evaluate": "translate a test set, score it and write a report",
    "translate": "translate lines from standard input or a file",
    "align": "link the words of given sentence pairs",
    "compare": "compare evaluated runs, with significance tests",
    "saliency": "compare attention with gradients",
    "serve": "translate over HTTP, for programs and the browser",
    "average": "average the last checkpoints of a run",
    "calibrate": "calibrate the confidence of a run's translations",
    "export": "write a model as ONNX",
}


def usage() -> str:
    """The text of --help."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: nmt COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "`nmt COMMAND --help` shows a command's settings and examples; `nmt --version` prints the version.",
            "`python -m nmt.COMMAND` is the same command.",
        ]
    )


def main() -> None:
    """Runs the command named in sys.argv. For an unknown command, prints one line to standard error and exits with
    status 2."""
    command, *words = sys.argv[1:] or [""]
    if command in ("-h", "--help", "help"):
        print(usage())
    elif command == "--version":
        print(f"nmt {__version__}")
    elif command in COMMANDS:
        sys.argv = [f"nmt {command}", *words]
        runpy.run_module(f"nmt.{command}", run_name="__main__", alter_sys=True)
    else:
        print(f"error: {_refusal(command)}", file=sys.stderr)
        sys.exit(2)


def _refusal(word: str) -> str:
    legal = ", ".join(COMMANDS)
    if not word:
        return f"no command given; legal are {legal}; see nmt --help"
    close = difflib.get_close_matches(word, COMMANDS, n=1)
    return f"{word}: no such command{f', did you mean {close[0]}' if close else ''}; legal are {legal}"


if __name__ == "__main__":
    main()

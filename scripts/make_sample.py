"""Writes data/sample/, a small part of the demo corpus: `python scripts/make_sample.py [FOLDER]`.

The pairs are the first ones of each part of the demo corpus, so the training pairs of the sample and the test pairs of
the demo corpus have no pair in common, and neither have the test pairs of the sample and the training pairs of the demo
corpus.
"""

import argparse
import tempfile
from pathlib import Path

from nmt.build import DEMO_SEED
from nmt.demo_corpus import DEMO_SRC, DEMO_TGT, write_demo

WHOLE = {"train": 1_900, "valid": 600, "test": 600}  # valid and test as in data=demo, as train is generated after them
SAMPLE = {"train": 1_900, "valid": 200, "test": 200}


def write_sample(folder: Path) -> None:
    """Writes {train,valid,test}.{en,fr,links} into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as whole:
        write_demo(Path(whole), **WHOLE, seed=DEMO_SEED)
        for name, count in SAMPLE.items():
            for suffix in (DEMO_SRC, DEMO_TGT, "links"):
                lines = (Path(whole) / f"{name}.{suffix}").read_bytes().splitlines(keepends=True)
                (folder / f"{name}.{suffix}").write_bytes(b"".join(lines[:count]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a small part of the demo corpus.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1] / "data" / "sample")
    write_sample(parser.parse_args().folder)


if __name__ == "__main__":
    main()

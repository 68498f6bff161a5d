"""The load script finds every answer right on a server that is."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.process]


def test_the_load_script_reports_rates_and_wrong_answers(served, tmp_path):
    (tmp_path / "lines").write_text("der hund\nein haus\nrot\nmann frau\n")
    script = Path(__file__).parents[2] / "scripts" / "load_server.py"
    words = [served.url, "--src", str(tmp_path / "lines"), "--clients", "3", "--requests", "40", "--idle", "5"]
    printed = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=True).stdout
    alone, together, compared = printed.splitlines()
    assert alone.startswith("one client: 4 requests, ")
    assert together.startswith("3 clients: 40 requests, ")
    assert compared.endswith("; 0 answers differ from those of a client alone")

"""Log lines about downloads, as the programs print them."""

from __future__ import annotations

import pytest

from deploy.evidence.log_lines import classify_line, filter_lines, select_lines


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Installed 146 packages in 1.20s", {"packages"}),
        ("Downloading numpy (15.9MiB)", {"packages"}),
        ("Collecting fastapi", {"packages"}),
        ("  Downloading fastapi-0.115.0-py3-none-any.whl (94 kB)", {"packages"}),
        ("Successfully installed fastapi-0.115.0", {"packages"}),
        ("Downloading cpython-3.12.8-linux-x86_64-gnu (21.3MiB)", {"python"}),
        ("Fetching 12 files:   0%|          | 0/12", {"models"}),
        ("[nltk_data] Downloading package punkt to /root/nltk_data", {"models"}),
        ("cause: failed to lookup address information: Name has no usable address", {"failed"}),
        ("curl: (6) Could not resolve host: index.example", {"failed"}),
        ("ERROR: No matching distribution found for fastapi", {"failed"}),
        ("huggingface_hub.errors.LocalEntryNotFoundError: offline", {"models", "failed"}),
        ("INFO:     Uvicorn running on http://0.0.0.0:8000", set()),
        ("Audited 146 packages in 0.02ms", set()),
        ("Resolved 190 packages in 3ms", set()),
        ("collecting metrics from the queue", set()),
        ("Downloading report for customer 7", set()),
    ],
)
def test_classifies_lines(line: str, expected: set[str]) -> None:
    assert classify_line(line) == expected


def test_selects_the_first_lines_of_each_kind() -> None:
    log = "\n".join([*(f"Collecting package{n}" for n in range(500)), "cause: dns error", "x" * 9])
    lines = select_lines(log)
    assert len(lines) == 11
    assert filter_lines(lines, "failed") == ("cause: dns error",)


def test_masks_secrets_in_selected_lines() -> None:
    (line,) = select_lines("Failed to fetch: https://u:hunter2canary@index.example/simple/")
    assert "hunter2canary" not in line

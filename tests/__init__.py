"""Tests in folders that mirror the packages."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository
SHARED = ROOT.parent / "shared"  # weights, faces and outputs of the published code; may not exist

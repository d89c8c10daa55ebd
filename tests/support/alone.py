"""The package `ubr_verifier`, made of the modules of the checkout as its build makes it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "packages" / "verifier"
BUILD: Final[dict[str, Any]] = runpy.run_path(str(FOLDER / "hatch_build.py"))
"""The functions of its build hook."""

VERIFY: Final = """
import asyncio, sys

class NoUbr:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ubr":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoUbr())

from ubr_verifier import Refused, ServiceKey, Verifier

url, key, token = sys.argv[1:]

async def main():
    async with Verifier(url, ServiceKey(key), issuer=url) as verifier:
        print((await verifier.verify(token)).user_id)
        try:
            await verifier.verify(token[:-4] + "AAAA")
        except Refused:
            print("refused")

asyncio.run(main())
"""
"""Verifies a token and a forged one, in a process that cannot import ubr."""

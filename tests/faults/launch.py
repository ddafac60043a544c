"""Runs a script of the project under planted hooks: launch.py HOOK,HOOK SCRIPT ARGUMENT ...

HOOK names a function of saboteurs.py or hooks.py, which changes the product before the script
starts; "-" is none. The product itself has no such switches.
"""

import importlib
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    names, script = sys.argv[1:3]
    sys.path[:0] = [str(ROOT)]
    for name in names.split(","):
        if name != "-":
            module, _, function = name.partition(".")
            getattr(importlib.import_module(f"tests.faults.{module}"), function)()
    sys.argv = [script, *sys.argv[3:]]
    runpy.run_path(str(ROOT / script), run_name="__main__")

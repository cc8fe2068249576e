"""What a fresh process takes: to answer, to import, to come to its first stage."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

HEAVY = ("torch", "diffusers", "scipy")
IMPORTS = "import torch\nfrom diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel"
FIRST = """
import os, sys
from diffshortcut import run
from diffshortcut.graph import execute
execute.do = lambda *_: os._exit(0)  # the first stage would run now
sys.argv[1:] = json.loads(sys.argv[1])
run.main()
sys.exit("no stage was to do")
"""
COMMAND = """
import sys
from diffshortcut import run
sys.argv[1:] = json.loads(sys.argv[1])
run.main()
"""
ANSWER = """
import sys, time
from diffshortcut import run
from diffshortcut.config import config
words = json.loads(sys.argv[1])
config.compose()
start = time.perf_counter()
if run.launch(words):
    sys.exit("something failed")
found = {"seconds": time.perf_counter() - start}
"""
FIND = """
import sys, time
from diffshortcut.job import index
jobs = json.loads(sys.argv[1])
start = time.perf_counter()
if not all(index.find(job) for job in jobs):
    sys.exit("a cell is not in the index")
found = {"seconds": time.perf_counter() - start}
"""
TELL = f"""
found["imported"] = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps(found))
"""


def seconds(code: str, *given: Any) -> float:
    """Of a whole process, from its start to its end."""
    start = time.perf_counter()
    _python(code, given)
    return time.perf_counter() - start


def answered(code: str, *given: Any) -> float:
    """Seconds that a process has measured itself; RuntimeError if it has imported torch."""
    found = json.loads(_python(code + TELL, given).splitlines()[-1])
    if found["imported"]:
        raise RuntimeError(f"a cached answer has imported {', '.join(found['imported'])}")
    return found["seconds"]


def _python(code: str, given: Sequence[Any]) -> str:
    arguments = [json.dumps(one) for one in given]
    command = [sys.executable, "-c", f"import json\n{code}", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

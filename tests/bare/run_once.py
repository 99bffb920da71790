"""`make run` as a person does it: wait until it is ready, paste the first line it shows, stop it with Ctrl-C.

For the Python of the machine, whichever that is, with nothing of the project's.
"""

import os
import signal
import subprocess
import sys

make = subprocess.Popen(
    ["make", "run", "TRAIN=--repeats 1 --folds 3"], stdout=subprocess.PIPE, text=True, start_new_session=True
)
pasted, stopped = None, False
for line in make.stdout:
    print(line, end="", flush=True)
    stopped |= line.startswith("beacon: stopped in")
    # By curl, or by `beacon predict` where there is none.
    if pasted is None and line.startswith(("curl ", ".venvs/")):
        pasted = subprocess.run(["bash", "-c", line], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
        print("answered:", pasted.stdout, flush=True)
        os.killpg(make.pid, signal.SIGINT)
make.wait()
answered = pasted is not None and pasted.returncode == 0
sys.exit(0 if answered and stopped else "no prediction was answered, or it did not stop as asked")

"""`make run` as a person does it: wait until it is ready, paste the first line it shows, stop it with Ctrl-C.

For the Python of the machine, whichever that is, with nothing of the project's.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request

make = subprocess.Popen(
    ["make", "run", "TRAIN=--repeats 1 --folds 3"], stdout=subprocess.PIPE, text=True, start_new_session=True
)
answer, stopped = {}, False
for line in make.stdout:
    print(line, end="", flush=True)
    stopped |= line.startswith("beacon: stopped in")
    if line.startswith("curl ") and not answer:
        _, _, url, _, header, _, body = shlex.split(line)
        request = urllib.request.Request(url, body.encode(), dict([header.split(": ")]))
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        print("answered:", json.dumps(answer), flush=True)
        os.killpg(make.pid, signal.SIGINT)
make.wait()
sys.exit(0 if "prediction" in answer and stopped else "no prediction was answered, or it did not stop as asked")

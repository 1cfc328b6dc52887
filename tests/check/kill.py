#!/usr/bin/python3
"""Kills a training (SIGKILL) at random moments; after every kill the checkpoint on the disk is whole, and nothing is
lost that was announced.

usage: kill.py [--kills N] [--seed N] [--until SECONDS] [--command COMMAND] [--file NAME] [--announced REGEX]
               [--resume ARGUMENTS] [--slack N] [--result NAME] [--keep FOLDER]

COMMAND (split as by a shell) trains in the folder where it is started; a line that matches REGEX (standard output
or error), whose first group is a number, says how many epochs are done; NAME is its checkpoint. It is started, killed after
a random time up to --until, and started again with ARGUMENTS behind it. After each kill the checkpoint is read by
a reader that is not the project's: its epoch is the last one announced or the one after, or, with --slack, up to so many
before. At most one temporary file may be there then, and none when the training has come to its end; one that comes
to its end before N kills begins anew. With --result the last one is let run to its end, and each time that it got there
the file NAME equals, byte for byte, that of a training that was never killed.
Words of COMMAND that are files, also behind a "name=", are meant from where kill.py was started.

Without --command: the training is $PDN_BUILD/tests/checkpoints (tests/tools/checkpoints.c), which only counts, and
every number of the checkpoint must be that of its epoch. Exit status 0: passed, 1: failed, 77: it is not there.
"""
import argparse
import glob
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
except ImportError:
    print("skipped: python3-numpy is not installed")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import _safetensors  # noqa: E402

LEFT = (".pdn-*.tmp", ".*.tmp")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="of the random moments (default: another each time)")
    parser.add_argument("--until", type=float, default=0.15, help="the latest moment of a kill, seconds")
    parser.add_argument("--command")
    parser.add_argument("--file", default="state.safetensors", help="the checkpoint")
    parser.add_argument("--announced", default=r"epoch (\d+)")
    parser.add_argument("--resume", default="--resume")
    parser.add_argument("--slack", type=int, default=0)
    parser.add_argument("--result", help="a file that must not depend on the kills")
    parser.add_argument("--keep", help="work in this folder and leave it")
    return parser.parse_args()


def announced_in(text, pattern):
    """The last epoch that a whole line announced; None: none."""
    numbers = [int(m.group(1)) for line in text.split("\n")[:-1] for m in [re.search(pattern, line)] if m]
    return numbers[-1] if numbers else None


def run_and_kill(command, folder, after):
    """Output, exit status (None: killed)."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = child.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            status = None
        output.seek(0)
        return output.read().decode("utf-8", "replace"), status


def temporaries(options, folder):
    folder = os.path.dirname(os.path.join(folder, options.file))
    return sorted({path for pattern in LEFT for path in glob.glob(os.path.join(glob.escape(folder), pattern))})


def content(path):
    with open(path, "rb") as file:
        return file.read()


def absolute(word):
    name, equals, value = word.rpartition("=")
    return name + equals + os.path.abspath(value) if os.path.exists(value) else word


def checkpoint_of(options, folder):
    """The epoch of the checkpoint, None where there is none; raises when it is not whole."""
    path = os.path.join(folder, options.file)
    if not os.path.exists(path):
        return None
    arrays, metadata = _safetensors.load(path)
    epoch = int(metadata["epoch"])
    if not options.command:
        if sorted(arrays) != ["K", "m", "v"] or int(metadata["step"]) != 10 * epoch:
            raise _safetensors.Broken(f"arrays {sorted(arrays)}, step {metadata['step']}")
        for name, array in arrays.items():
            if not np.all(array == epoch):
                raise _safetensors.Broken(f"numbers of '{name}' are not those of epoch {epoch}")
    return epoch


def kills(options, command, folder):
    """What went wrong, as texts, and the results of trainings that came to their end."""
    faults, results, last, killed, seen, epochs = [], [], None, 0, 0, []
    start = time.monotonic()
    path = os.path.join(folder, options.file)
    while killed < options.kills and len(faults) < 10:
        after = random.uniform(0, options.until)
        resumes = os.path.exists(path)
        output, status = run_and_kill(command + (shlex.split(options.resume) if resumes else []), folder, after)
        if status == 0 and options.result and len(results) < options.kills:
            results.append(content(os.path.join(folder, options.result)))
            os.remove(path)
            last = None
            continue
        if status is not None:
            faults.append(f"it ended with {status} before it was killed, after {after:.3f} s: {output[-500:]}")
            break
        killed += 1
        announced = announced_in(output, options.announced)
        last = announced if announced is not None else last
        seen += announced is not None
        try:
            epoch = checkpoint_of(options, folder)
        except Exception as fault:  # pylint: disable=broad-except
            faults.append(f"kill {killed}, after {after:.4f} s: the checkpoint is not whole: {fault}")
            continue
        if last is not None and (epoch is None or not last - options.slack <= epoch <= last + 1):
            faults.append(f"kill {killed}, after {after:.4f} s: epoch {last} was announced, epoch {epoch} is there")
        if epoch is not None:
            last = max(last or 0, epoch)
            epochs.append(epoch)
        if len(temporaries(options, folder)) > 1:
            faults.append(f"kill {killed}: temporary files pile up: {temporaries(options, folder)}")
    print(f"{killed} kills in {time.monotonic() - start:.0f} s, {seen} after an announcement, "
          f"epochs {min(epochs, default='none')} to {max(epochs, default='none')}, {len(results)} ends before the last")
    if not seen:
        faults.append("nothing was ever announced: kill later (--until)")
    return faults, results


def to_the_end(options, command, folder, results):
    """The result of what was killed equals that of what was not."""
    output, status = run_and_kill(command + shlex.split(options.resume), folder, None)
    if status != 0:
        return [f"after the kills it ended with {status}: {output[-500:]}"]
    faults = [f"left behind: {path}" for path in temporaries(options, folder)]
    results.append(content(os.path.join(folder, options.result)))
    with tempfile.TemporaryDirectory() as other:
        output, status = run_and_kill(command, other, None)
        if status != 0:
            return faults + [f"without kills it ended with {status}: {output[-500:]}"]
        whole = content(os.path.join(other, options.result))
    faults += [f"{options.result} is another than without kills, at end {i + 1}"
               for i, result in enumerate(results) if result != whole]
    return faults


def main():
    options = arguments()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    random.seed(seed)
    if options.command:
        command = [absolute(word) for word in shlex.split(options.command)]
    else:
        tool = os.path.join(os.environ.get("PDN_BUILD", "."), "tests", "checkpoints")
        if not os.path.exists(tool):
            print(f"skipped: {tool} is not built")
            return 77
        command = [os.path.abspath(tool), options.file, "20000", "1000000000"]
    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or folder
        os.makedirs(folder, exist_ok=True)
        faults, results = kills(options, command, folder)
        if not faults and not options.command:  # a little more, then the end
            command[-1] = str((checkpoint_of(options, folder) or 0) + 3)
            options.result = options.file
        if not faults and options.result:
            faults = to_the_end(options, command, folder, results)
    for fault in faults:
        print("FAILED", fault, f"(--seed {seed})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Messages about files of data and of `pdn build`, which no regression can hold: the words in capitals name the rows of
diagnostics.def that are expected."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy
except ImportError:
    print("skipped: numpy is not installed")
    sys.exit(77)

PDN = os.environ["PDN"]
FAULTS = 0
COUNT = 0


def expect(row, words, program, *command):
    """`pdn COMMAND` of the program fails with status 1 and a message that holds the words."""
    global FAULTS, COUNT
    COUNT += 1
    with open("program.pdn", "w", encoding="utf-8") as file:
        file.write(program)
    done = subprocess.run([PDN, *command], capture_output=True, text=True, check=False)
    if done.returncode != 1 or words not in done.stderr:
        FAULTS += 1
        print(f"{row}: exit status {done.returncode}, {done.stderr}")


def experiment(text):
    return "experiment e {\n    grid G = box([0, 8], cells = [8])\n    " + text + "\n}\n"


def files():
    numpy.save("five.npy", numpy.zeros((2, 2, 2, 2, 2)))
    numpy.save("one.npy", numpy.zeros(4))
    run = ("run", "program.pdn")
    expect("NOT_A_PICTURE", "and a picture has 2", experiment('print "m": mean(image("one.npy"))'), *run)
    expect("ARRAY_RANK", "has 5 axes, and a field has 1 to 4", experiment('print "m": mean(array("five.npy"))'), *run)
    for where in ("G", "rank = 1"):
        expect("ARRAY_RANK", "has 5 axes, and a field on a grid of 1 has 1 or 2",
               experiment(f'print "m": mean(array("five.npy", {where}))'), *run)
    expect("ARRAY_RANK", "the shape of its grid (8)", experiment('print "m": mean(array("five.npy", G))'), *run)
    expect("ARRAY_GRID", "does not have the shape of the grid", experiment('print "m": mean(array("one.npy", G))'), *run)


def outputs():
    saved = experiment('save G.x to "x.npy"')
    expect("NO_FOLDER", "cannot make the folder", saved, "run", "program.pdn", "--out", "/proc/nowhere")


def builds():
    operators = "operator ok(u) = u\noperator scaled(a = 2)(u) = a * u\noperator words(u) = \"text\"\noperator σ2(u) = 2 * u\n"
    build = ("build", "program.pdn")
    expect("NO_DEFINITION", "defines no operator 'kk'", operators, *build, "kk")
    expect("NO_DEFINITION", "did you mean 'scaled'?", operators, *build, "scald")
    expect("NO_DEFINITION", "use diffusion", operators, *build, "perona_malik")
    expect("NO_DEFINITION", "the program defines ok, scaled, words", operators, *build, "e")  # the number e is no operator
    run = operators + 'experiment e { print "x": 1 }\n'
    expect("NOT_A_KERNEL", "'e' is an experiment", run, *build, "e")
    expect("NOT_A_KERNEL", "pdn run program.pdn e", run, *build, "e")
    expect("NOT_A_KERNEL", "the program defines ok, scaled, words", run, *build, "e")
    expect("NO_CONFIGURATION", "the configuration of 'scaled' has no 'b'", operators, *build, "scaled", "b=3")
    expect("KERNEL_RESULT", "a kernel returns fields and numbers", operators, *build, "words")
    expect("NOT_A_C_NAME", "is no name in C", operators, *build, "σ2")
    for name in ("powf", "round", "int"):  # the kernel would call itself, hide a function of C, be no function
        expect("C_NAME_TAKEN", "is a word of C or in its library", f"operator {name}(u) = u^1.7\n", *build, name)
    scaled = "network scaled()(f) {\n    param K = conv(1 -> 1, size = 3)\n    return K(f) / norm(K)\n}\n"
    expect("CODE_FAILED", "no machine code", scaled, *build, "scaled")


def main():
    with tempfile.TemporaryDirectory(prefix="pdn-messages-") as folder:
        os.chdir(folder)
        files()
        outputs()
        builds()
        os.chdir("/")
    print(f"{COUNT - FAULTS} passed, {FAULTS} failed, 0 skipped")
    sys.exit(1 if FAULTS else 0)


main()

"""Runs shellcheck on the shell commands in the workflows that are its arguments.

Prints what it finds. The exit status is 1 if it finds something.
"""
import re
import subprocess
import sys

from ruamel.yaml import YAML

# What a workflow gives to actions that run commands in a virtual machine, with sh.
COMMANDS_OF_ACTIONS = ("prepare", "run")


def commands(workflow):
    """Yields the name, the shell and the text of each block of commands."""
    for name, job in workflow["jobs"].items():
        for number, step in enumerate(job["steps"], 1):
            what = f"job {name}, step {number} ({step.get('name') or step.get('uses')})"
            if "run" in step:
                yield what, step.get("shell", "bash"), step["run"]
            for key in COMMANDS_OF_ACTIONS:
                if "uses" in step and key in step.get("with", {}):
                    yield f"{what}, {key}", "sh", step["with"][key]


def complaints(shell, text):
    # An expression stands for a text that is not known here.
    text = re.sub(r"\$\{\{.*?\}\}", lambda found: "_" * len(found[0]), text)
    command = ["shellcheck", "--format=gcc", f"--shell={shell}", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def main(files):
    count, failed = 0, False
    for file in files:
        with open(file, encoding="utf-8") as source:
            workflow = YAML(typ="safe").load(source)
        for what, shell, text in commands(workflow):
            count += 1
            result = complaints(shell, text)
            if result.returncode != 0:
                failed = True
                print(f"{file}: {what}:\n{result.stdout}{result.stderr}", end="")
    if count == 0:
        sys.exit("no commands were found in " + ", ".join(files))
    sys.exit(1 if failed else 0)


main(sys.argv[1:])

"""The second pair of eyes: reads every .cc of the project with clang-19.

usage: clang_pass.py BUILD_DIRECTORY JOBS

One parse per file finds names that break .clang-tidy, results dropped in `co_await f();` (g++ 12
does not warn there), and code that only g++ accepts. The compile commands are g++'s; what clang
does not know of them is taken out.
"""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

# Parsing for diagnostics only: no code is generated, no sanitizer or precompiled header is used.
DROPPED = ("-fsanitize", "-Winvalid-pch", "-fpch", "-O", "-g", "-W", "-o", "-c", "-M")
ADDED = ["-Wno-everything", "-Werror=unused-result", "-Wno-unknown-warning-option"]


def clang_arguments(entry):
    """The entry's arguments as clang takes them, without output, warnings and g++'s own PCH."""
    words = entry.get("arguments") or shlex.split(entry["command"])
    kept, skip = [], False
    for index, word in enumerate(words[1:], start=1):
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word == "-include" and words[index + 1].endswith("cmake_pch.hxx"):
            skip = True
        elif not word.startswith(DROPPED):
            kept.append(word)
    return ["clang++-19", *ADDED, *kept]


def project_entries(build, root):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    seen = set()
    for entry in entries:
        arguments = [word for word in clang_arguments(entry) if word != entry["file"]]
        for file in compiled_files(os.path.join(entry["directory"], entry["file"])):
            path = os.path.relpath(file, root)
            if not path.startswith(("..", "build/")) and path not in seen:
                seen.add(path)
                yield path, {**entry, "arguments": [*arguments, file]}


def compiled_files(file):
    """The file, or those that CMake joined in it to compile them as one."""
    if not os.path.basename(file).startswith("unity_"):
        return [file]
    with open(file, encoding="utf-8") as joined:
        return re.findall(r'#include "(.*)"', joined.read())


def main():
    build, jobs = sys.argv[1], int(sys.argv[2])
    root = os.getcwd()
    entries = dict(project_entries(build, root))
    for path, entry in entries.items():
        entry.pop("command", None)
        entry["file"] = os.path.join(root, path)
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "compile_commands.json"), "w", encoding="utf-8") as file:
            json.dump(list(entries.values()), file)

        def check(path):
            command = ["clang-tidy-19", "--quiet", "-p", directory, os.path.join(root, path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return path, done.returncode, done.stdout + done.stderr

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for path, code, output in pool.map(check, sorted(entries)):
                if code != 0:
                    failed.append(path)
                    print(output)
    print(f"{len(entries)} files read, {len(failed)} with findings", *failed, sep="\n  ")
    return 1 if failed or not entries else 0


if __name__ == "__main__":
    sys.exit(main())

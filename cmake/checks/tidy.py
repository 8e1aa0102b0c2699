#!/usr/bin/env python3
"""Runs clang-tidy with .clang-tidy over the project's own sources, as many at a time as there are cores.
    tidy.py SOURCE_DIR BUILD_DIR [FILE ...]
Generated code is left out; so are tests and benchmarks, whose macros it does not like. Prints only what it found.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time

FOLDERS = ('storage', 'core', 'sync', 'backup', 'security', 'config', 'metrics', 'tls', 'server', 'cli')


def ours(source_dir, build_dir):
    with open(os.path.join(build_dir, 'compile_commands.json'), encoding='utf-8') as file:
        files = {os.path.normpath(os.path.join(entry['directory'], entry['file'])) for entry in json.load(file)}
    for path in sorted(files):
        relative = os.path.relpath(path, source_dir)
        if relative.split(os.sep)[0] in FOLDERS and path.endswith('.cc'):
            yield path


def without_gcc_options(build_dir, folder):
    """The build may be gcc's, which has options that clang refuses: writes the commands without them into `folder`."""
    with open(os.path.join(build_dir, 'compile_commands.json'), encoding='utf-8') as file:
        commands = json.load(file)
    for entry in commands:
        entry['command'] = re.sub(r' -mmem(cpy|set)-strategy=\S+', '', entry['command'])
    with open(os.path.join(folder, 'compile_commands.json'), 'w', encoding='utf-8') as file:
        json.dump(commands, file)


def tidy(path, commands):
    begin = time.monotonic()
    # Nor does clang know all of gcc's warnings. The locking annotations are only clang's.
    done = subprocess.run(['clang-tidy', '-p', commands, '--quiet', '--extra-arg=-Wno-unknown-warning-option',
                           '--extra-arg=-Wthread-safety', path], capture_output=True, text=True, check=False)
    return path, done.returncode, done.stdout.strip(), done.stderr, time.monotonic() - begin


def main():
    source_dir, build_dir = (os.path.abspath(path) for path in sys.argv[1:3])
    files = [os.path.abspath(path) for path in sys.argv[3:]] or list(ours(source_dir, build_dir))
    if not files:
        sys.exit('no files found')
    failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        without_gcc_options(build_dir, folder)
        for path, code, output, errors, seconds in pool.map(lambda f: tidy(f, folder), files):
            name = os.path.relpath(path, source_dir)
            if code != 0:
                failed += 1
                print(f'--- {name}\n{output or errors}', flush=True)
            elif seconds > 30:
                print(f'{name}: {seconds:.0f} s', flush=True)
    print(f'{len(files)} files, {failed} with findings')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())

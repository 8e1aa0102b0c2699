#!/usr/bin/env python3
"""Checks that nothing in the repository names a folder of the machine that somebody wrote it on.
    paths.py SOURCE_DIR
"""
import os
import re
import subprocess
import sys

# Written so that this file does not find itself.
MACHINE = re.compile(rb'(?<![\w./}-])/(?:work|root|home/\w+|Users/\w+|workspace)/\w')


def files():
    listed = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], capture_output=True,
                            check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.decode().split('\0') if name and os.path.isfile(name)]
    return [os.path.relpath(os.path.join(where, name)) for where, _, names in os.walk('.') for name in names
            if not where.startswith(('./build', './.git'))]


def main():
    os.chdir(sys.argv[1])
    wrong = []
    names = files()
    for name in names:
        with open(name, 'rb') as file:
            for number, line in enumerate(file, start=1):
                if MACHINE.search(line) and not name.endswith('.gz'):
                    wrong.append(f'{name}:{number}: {line.strip()[:120].decode(errors="replace")}')
    print('\n'.join(wrong) or f'{len(names)} files name no folder of one machine')
    return 1 if wrong or not names else 0


if __name__ == '__main__':
    sys.exit(main())

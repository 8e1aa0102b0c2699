#!/usr/bin/env python3
"""Checks deploy/systemd/mptd.service with systemd's own tools: that systemd understands every line, that it exposes no more
than it does today, and that mptd takes its command line.
    unit.py SOURCE_DIR BIN_DIR
"""
import os
import shlex
import subprocess
import sys
import tempfile

# Ten times what `systemd-analyze security` says, rounded up.
EXPOSURE = 13


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main():
    source, programs = sys.argv[1:]
    with open(os.path.join(source, 'deploy/systemd/mptd.service'), encoding='utf-8') as file:
        unit = file.read()
    command = next(line.partition('=')[2] for line in unit.splitlines() if line.startswith('ExecStart='))
    program, *flags = shlex.split(command)
    wrong = [] if '\nLimitCORE=0\n' in unit else ['mptd.service allows core files, which have secrets in them']
    with tempfile.TemporaryDirectory() as folder:
        # systemd wants to see the program, which is not installed here.
        built = os.path.join(folder, 'mptd.service')
        with open(built, 'w', encoding='utf-8') as file:
            file.write(unit.replace(program, os.path.join(programs, 'mptd')))
        code, said = run('systemd-analyze', 'verify', '--man=no', built)
        if code != 0 or 'mptd.service' in said:
            wrong.append(said)
        code, said = run('systemd-analyze', 'security', '--offline=true', f'--threshold={EXPOSURE}', '--no-pager', built)
        if code != 0:
            wrong.append(said)
    example = os.path.join(source, 'config/mptd.example.yaml')
    flags = [example if flag == '/etc/mptd/mptd.yaml' else flag for flag in flags]
    code, said = run(os.path.join(programs, 'mptd'), *flags, '--check-config')
    if code != 0:
        wrong.append(said)
    print('\n'.join(wrong) or 'systemd understands mptd.service, and mptd its command line')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

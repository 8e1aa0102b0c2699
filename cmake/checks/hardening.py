#!/usr/bin/env python3
"""Looks in built programs for what cmake/MptdTargets.cmake hardens them with.
    hardening.py COMPILER PROGRAM ...
First it builds a program that lacks all of it, which must be found wanting in each respect.
"""
import os
import re
import subprocess
import sys
import tempfile


def readelf(option, path):
    return subprocess.run(['readelf', '--wide', option, path], capture_output=True, text=True, check=True).stdout


def wanting(path):
    """What the program lacks, a short name each."""
    header, segments = readelf('--file-header', path), readelf('--program-headers', path)
    dynamic, symbols = readelf('--dynamic', path), readelf('--dyn-syms', path)
    loads = re.findall(r'^ +LOAD .* 0x\w+ ([R ][W ][E ]) 0x', segments, re.M)
    stack = re.search(r'^ +GNU_STACK .* 0x\w+ ([R ][W ][E ]) 0x', segments, re.M)
    holds = {
        'PIE': re.search(r'Type: +DYN', header) and 'INTERP' in segments,
        'RELRO': 'GNU_RELRO' in segments,
        'BIND_NOW': re.search(r'\bBIND_NOW\b|Flags:.*\bNOW\b', dynamic),
        'a stack that is not executable': stack and 'E' not in stack[1],
        'no segment that is writable and executable': loads and not any('W' in f and 'E' in f for f in loads),
        'the stack protector': '__stack_chk_fail' in symbols,
        'FORTIFY_SOURCE': re.search(r' __(?!stack)\w+_chk\b', symbols),
        'no RPATH': not re.search(r'\((RPATH|RUNPATH)\)', dynamic),
    }
    return [name for name, there in holds.items() if not there]


def soft_program(compiler, folder):
    """A program without any of it."""
    source, path = os.path.join(folder, 'soft.cc'), os.path.join(folder, 'soft')
    with open(source, 'w', encoding='utf-8') as file:
        # The compiler writes a section's name and then its flags; here the name brings other flags and hides those.
        section = r'__attribute__((section(".both,\"awx\",@progbits#")))'
        file.write(f'{section} int both = 1;\nint main() {{ return both; }}\n')
    subprocess.run([compiler, '-no-pie', '-fno-stack-protector', '-Wl,-z,norelro,-z,lazy,-z,execstack,-rpath,/lib',
                    source, '-o', path], check=True, capture_output=True)
    return path


def main():
    compiler, *programs = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = wanting(soft_program(compiler, folder))
    if len(found) != 8:
        sys.exit(f'a program without hardening is only said to lack {found}')
    wrong = [f'{path} lacks {name}' for path in programs for name in wanting(path)]
    print('\n'.join(wrong) or f'{len(programs)} programs have all of it')
    return 1 if wrong or not programs else 0


if __name__ == '__main__':
    sys.exit(main())

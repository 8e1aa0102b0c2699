#!/usr/bin/env python3
"""Checks that clang-format would change nothing in the project's C++ files.
    format.py SOURCE_DIR [--fix]
"""
import os
import subprocess
import sys

FOLDERS = ('storage', 'core', 'sync', 'backup', 'security', 'config', 'metrics', 'tls', 'server', 'cli', 'bench', 'tests')


def main():
    os.chdir(sys.argv[1])
    files = [os.path.join(where, name) for folder in FOLDERS for where, _, names in os.walk(folder)
             for name in sorted(names) if name.endswith(('.h', '.cc'))]
    if not files:
        sys.exit('no files found')
    how = ['-i'] if '--fix' in sys.argv[2:] else ['--dry-run', '--Werror']
    result = subprocess.run(['clang-format', *how, *files], check=False).returncode
    print(f'{len(files)} files', 'formatted' if how == ['-i'] else 'are as clang-format writes them' if result == 0 else
          'looked at; `cmake/checks/format.py . --fix` mends them')
    return result


if __name__ == '__main__':
    sys.exit(main())

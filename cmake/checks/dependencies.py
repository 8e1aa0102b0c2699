#!/usr/bin/env python3
"""Checks that the parts of the project depend on each other in one direction only, as dependencies.json says.

Looks at the #include lines of every part and, in the list of targets that CMake wrote, at what each target links.
    dependencies.py SOURCE_DIR TARGETS_FILE
"""
import json
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]')


class Table:
    def __init__(self, path):
        with open(path, encoding='utf-8') as file:
            table = json.load(file)
        self.parts = table['parts']
        self.libraries = table['libraries']
        self.generated = table['generated']
        for part, used in self.parts.items():
            unknown = [name for name in used if name not in self.parts]
            if unknown:
                sys.exit(f'dependencies.json: {part} uses {unknown}, which are not parts')

    def part_of(self, path):
        """The part that a file or folder belongs to, by the longest name that starts its path; None for no part."""
        matching = [part for part in self.parts if path.startswith(part) and path[len(part):][:1] in ('', '/', '.', '_')]
        return max(matching, key=len, default=None)

    def allows(self, user, used):
        return user is None or used is None or user == used or used in self.parts[user]


def sources(folders):
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                if name.endswith(('.h', '.cc', '.cpp', '.S')):
                    yield os.path.join(where, name)


def wrong_includes(table):
    for path in sources(sorted({part.split('/')[0] for part in table.parts})):
        part = table.part_of(path)
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, start=1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                header = match.group(1)
                generated = [p for prefix, p in table.generated.items() if header.startswith(prefix)]
                used = generated[0] if generated else table.part_of(header)
                if not table.allows(part, used):
                    yield f'{path}:{number}: {part} may not include {header}, which is of {used}'
                for prefix, allowed in table.libraries.items():
                    if header.startswith(prefix) and not any(part == a or part.startswith(a + '/') for a in allowed):
                        yield f'{path}:{number}: {part} may not include {header}; only {", ".join(allowed)} may'


def wrong_links(table, targets_file):
    """TARGETS_FILE has a line a target: name, folder, sources, linked libraries, separated by tabs, lists by commas."""
    parts, links = {}, {}
    with open(targets_file, encoding='utf-8') as file:
        for line in file:
            name, folder, files, libraries = line.rstrip('\n').split('\t')
            own = {table.part_of(os.path.normpath(os.path.join(folder, f))) for f in files.split(',') if f.endswith('.cc')}
            parts[name] = own or {table.part_of(folder)}
            links[name] = [library for library in libraries.split(',') if library]
    if not parts:
        yield f'{targets_file}: no targets'
    for name, libraries in links.items():
        for library in libraries:
            for used in parts.get(library, ()):
                if not any(table.allows(part, used) for part in parts[name]):
                    yield f'target {name} of {sorted(map(str, parts[name]))} may not link {library}, which is of {used}'


def main():
    source_dir, targets_file = sys.argv[1:]
    targets_file = os.path.abspath(targets_file)
    table_path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'dependencies.json')
    os.chdir(source_dir)
    table = Table(table_path)
    wrong = [*wrong_includes(table), *wrong_links(table, targets_file)]
    print('\n'.join(wrong) or 'all dependencies point the right way')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""Which sources of a library cannot be compiled as one with those before them.
    unity.py SOURCE ...
Prints, separated by semicolons, each source that has a name in an unnamed namespace which an earlier one has too. Names
are taken from the lines that begin at the margin, as .clang-format puts them; what it takes for a clash and is none is
compiled alone, which costs a few seconds.
"""
import re
import sys

TYPE = re.compile(r'(?:class|struct|union|enum(?: class)?)\s+(\w+)')
ALIAS = re.compile(r'using\s+(\w+)\s*=(.*)')
FUNCTION = re.compile(r'([\w:]+)\((.*)')
VALUE = re.compile(r'(\w+)\s*[={\[;]')


def hidden_names(text):
    """(name, what may be repeated or overloaded under it): an alias of the same, a function of other parameters."""
    inside = False
    for line in text.splitlines():
        if line == 'namespace {':
            inside = True
        elif line.startswith('}  // namespace'):
            inside = False
        elif inside and re.match(r'(?!template|using namespace|namespace)[A-Za-z_:]', line):
            before_value = line.split('=')[0]
            if line.startswith('using '):
                if found := ALIAS.match(line):
                    yield found[1], ('alias', found[2])
            elif found := TYPE.match(line):
                yield found[1], ('type',)
            elif found := FUNCTION.search(before_value):
                yield found[1], ('function', re.sub(r'\s*\b\w+(?=[,)])', '', found[2]))
            elif found := VALUE.search(line):
                yield found[1], ('value',)


def clash(one, other):
    if one[0] == other[0] == 'alias':
        return one != other
    return one == other or not one[0] == other[0] == 'function'


def alone(texts):
    """texts: (source, text) in the order of compilation. What is compiled alone hides nothing from the others."""
    seen = {}
    for source, text in texts:
        names = list(hidden_names(text))
        if any(clash(what, other) for name, what in names for other in seen.get(name, ())):
            yield source
        else:
            for name, what in names:
                seen.setdefault(name, []).append(what)


def main():
    def read(path):
        with open(path, encoding='utf-8') as file:
            return file.read()
    print(';'.join(alone((source, read(source)) for source in sys.argv[1:])), end='')


if __name__ == '__main__':
    main()

#!/usr/bin/env python3
"""Checks scripts/mutate on a function with a good and a weak test: it must find what the weak one does not notice.
    mutate.py SOURCE_DIR COMPILER
"""
import importlib.machinery
import importlib.util
import os
import sys
import tempfile

FUNCTION = '''bool InRange(int value) {
  if (value < 10) return false;
  return value <= 20 && value != 15;  // not 15
}
'''
TEST = 'bool InRange(int);\nint main() { return %s ? 0 : 1; }\n'
GOOD = ('InRange(10) && !InRange(9) && InRange(20) && !InRange(21) && !InRange(15) && InRange(11) && InRange(16) &&'
        ' !InRange(25)')
WEAK = 'InRange(12) && !InRange(1)'


def verdicts(mutate, folder, compiler, test):
    path = os.path.join(folder, 'function.cc')
    for name, text in (('function.cc', FUNCTION), ('test.cc', TEST % test)):
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
            file.write(text)
    tests = [([compiler, 'function.cc', 'test.cc', '-o', 'test'], os.path.join(folder, 'test'), 60)]
    said = {}
    for line, kind, text in mutate.mutants(FUNCTION):
        verdict = mutate.judge(path, text, tests, folder)
        if said.get((line, kind)) != 'survived':  # of two of a kind in a line, the one that is not noticed
            said[line, kind] = verdict
    with open(path, encoding='utf-8') as file:
        if file.read() != FUNCTION:
            sys.exit('the file was not put back')
    if mutate.judge(path, 'nonsense', tests, folder) != 'not compiled':
        sys.exit('what does not compile is not told')
    return said


def main():
    source, compiler = sys.argv[1:]
    loader = importlib.machinery.SourceFileLoader('mutate', os.path.join(source, 'scripts/mutate'))
    mutate = importlib.util.module_from_spec(importlib.util.spec_from_loader('mutate', loader))
    loader.exec_module(mutate)
    with tempfile.TemporaryDirectory() as folder:
        good = verdicts(mutate, folder, compiler, GOOD)
        weak = verdicts(mutate, folder, compiler, WEAK)
    expected = {(2, '< to <='), (2, 'false to true'), (2, 'number + 1'), (2, 'condition negated'), (3, '<= to <'),
                (3, '&& to ||'), (3, '!= to =='), (3, 'number + 1')}
    wrong = []
    if set(good) != expected:
        wrong.append(f'mistakes made: {sorted(good)}')
    if survivors := [mutant for mutant, said in good.items() if said != 'killed by test']:
        wrong.append(f'a good test does not notice {survivors}')
    missed = {mutant for mutant, said in weak.items() if said == 'survived'}
    if missed != {(2, '< to <='), (2, 'number + 1'), (3, '<= to <'), (3, '&& to ||'), (3, 'number + 1')}:
        wrong.append(f'a weak test lets pass {sorted(missed)}')
    print('\n'.join(wrong) or f'{len(good)} mistakes, {len(missed)} of them not noticed by a weak test')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

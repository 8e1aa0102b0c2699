#!/usr/bin/env python3
"""Checks cmake/unity.py on sources that clash and sources that do not.
    unity.py SOURCE_DIR
"""
import importlib.util
import os
import sys

FIRST = '''namespace {
constexpr int kLimit = 1;
using Bytes = std::string;
struct Row {
  int kInner = 1;
};
bool Parse(int argc, const char* name) {
  return name[argc] == 0;
}
}  // namespace
constexpr int kOutside = 1;
'''
# What a second source has in its unnamed namespace -> whether it clashes with the first.
SECOND = {
    'constexpr double kLimit = 2;': True,
    'using Bytes = std::vector<int>;': True,
    'using Bytes = std::string;': False,
    'class Row {': True,
    'int Row() {': True,
    'int Parse(int count, const char* text) {': True,
    'int Parse(int count) {': False,
    'constexpr int kInner = 1;': False,
    'constexpr int kOutside = 1;': False,
    'constexpr int kOther = kLimit2;': False,
}


def main():
    spec = importlib.util.spec_from_file_location('clashes', os.path.join(sys.argv[1], 'cmake/unity.py'))
    unity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unity)
    wrong = []
    for line, clashes in SECOND.items():
        second = f'namespace {{\n{line}\n}}  // namespace\n'
        found = list(unity.alone([('first.cc', FIRST), ('second.cc', second)]))
        if found != (['second.cc'] if clashes else []):
            wrong.append(f'{line}: {found}')
    print('\n'.join(wrong) or f'{len(SECOND)} cases')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""Checks that every command in the documentation exists: subcommands and flags of mptd and mptctl against their --help, methods of
gRPC against the .proto files, paths of HTTP against the daemon's, scripts of this repository, and other programs against a list.
    commands.py SOURCE_DIR BIN_DIR
"""
import functools
import glob
import os
import re
import shlex
import subprocess
import sys

# Of Debian's, or built here. What is not among them is perhaps a slip.
PROGRAMS = set('''
    apt cat cd chmod cmake coredumpctl cp cpack ctest curl df docker du free geth git grep grpcurl gzip install journalctl jq kill ls
    mptd-bench mv openssl pidof pgrep promtool prometheus python3 rm sed sort ss sudo systemctl systemd-analyze tail time timeout top wc
    zcat
'''.split())
HTTP_PATHS = {'/metrics', '/livez', '/readyz'}
PREFIXES = ('time', 'sudo', 'timeout', 'env')  # what another command may follow
PLACEHOLDER = re.compile('^[A-Z][A-Z_|]*$')
# Pages that are made by the program itself.
GENERATED = ['docs/CONFIGURATION.md']


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


class Program:
    """One command line, by its --help."""

    def __init__(self, path, *words):
        self.path, self.words = path, words
        done = subprocess.run([path, *words, '--help'], capture_output=True, text=True, timeout=300, check=False)
        self.known = done.returncode == 0
        self.help = done.stdout
        self.flags = {}  # flag: whether it takes a value
        self.required = set()
        for line in self.help.splitlines():
            found = re.match(r'\s+((?:--?[\w.\[\]=]+(?:,\s*)?)+)((?: [^ ]+)*)', line)
            if not found:
                continue
            flags = re.findall(r'--?[a-z][\w.]*(?:-\w+)*', line.partition('  (or')[0].split('   ')[0])
            flags += re.findall(r'\(or (--[\w-]+)\)', line)
            for flag in flags:
                self.flags[flag] = bool(found.group(2).strip()) and '(Env' != found.group(2).strip()[:4]
            if ' REQUIRED' in found.group(2):
                self.required.add(flags[-1])
        section = re.search(r'^Subcommands:\n((?:  .*\n)+)', self.help, re.MULTILINE)
        self.subcommands = re.findall(r'^  ([a-z][\w-]*)', section.group(1), re.MULTILINE) if section else []


@functools.cache
def program(path, *words):
    return Program(path, *words)


def check_mptctl(path, words):
    """What is wrong with the words after `mptctl`."""
    top = here = program(path)
    given = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, _ = word.partition('=')
        if word.startswith('-') and word != '-':
            takes_value = here.flags.get(flag, top.flags.get(flag))
            if takes_value is None:
                return f'{" ".join(("mptctl", *here.words))} has no flag {flag}'
            given.add(flag)
            if takes_value and not equals and rest:
                rest.pop(0)
        elif word in here.subcommands:
            here = program(path, *here.words, word)
        elif here is top and not PLACEHOLDER.match(word):
            return f'mptctl has no subcommand {word}'
    missing = here.required - given
    if missing and not given & {'--help', '-h'} and words[1:]:
        return f'{" ".join(("mptctl", *here.words))} needs {", ".join(sorted(missing))}'
    return None


def check_mptd(path, words):
    here = program(path)
    rest = list(words)
    flags = set(here.flags) | {'--print-config', '-h'}
    if rest and rest[0] in ('check', 'import'):
        flags |= set(program(path, rest[0]).flags)
        rest.pop(0)
    for word in rest:
        flag = word.partition('=')[0]
        if flag.startswith('-') and flag != '-' and flag not in flags and not PLACEHOLDER.match(flag.lstrip('-')):
            return f'mptd has no flag {flag}'
    return None


def split(line):
    """The simple commands of a line of shell, each as its words; those within $( ) as well."""
    inner = re.findall(r'\$\(([^()]*)\)', line)
    line = re.sub(r'\$\([^()]*\)', 'SUBSTITUTED', line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word and set(word) <= set('|&;()'):
            yield words
            words = []
        else:
            words.append(word)
    yield words
    for command in inner:
        yield from split(command)


class Checker:
    def __init__(self, source, programs):
        self.source, self.programs = source, programs
        self.methods = {f'{service}/{method}' for path in glob.glob(source + '/proto/mptd/v1/*.proto')
                        for service, body in re.findall(r'service (\w+) \{(.*?)\n\}', read(path), re.DOTALL)
                        for method in re.findall(r'rpc (\w+)', body)}
        self.count = 0

    def command(self, words):
        """What is wrong with one simple command, or None."""
        while words and (re.match(r'^\w+=', words[0]) or words[0] in PREFIXES):
            if words[0] == 'sudo' and words[1:2] == ['-u']:
                words = words[2:]
            elif words[0] == 'timeout':
                words = words[1:]
            words = words[1:]
        if not words:
            return None
        self.count += 1
        name = os.path.basename(words[0])
        if name == 'mptctl':
            return check_mptctl(os.path.join(self.programs, name), words[1:])
        if name == 'mptd':
            return check_mptd(os.path.join(self.programs, name), words[1:])
        if '/' in words[0] and not words[0].startswith(('/', 'build/')):
            exists = os.access(os.path.join(self.source, words[0]), os.X_OK)
            return None if exists else f'{words[0]} is no program of this repository'
        if name == 'curl':
            for path in re.findall(r':7301(/[\w/]*)', ' '.join(words)):
                if path not in HTTP_PATHS and not path.startswith('/readyz/'):
                    return f'the daemon has no page {path}'
        for method in re.findall(r'mptd\.v1\.(\w+/\w+)', ' '.join(words)):
            if method not in self.methods:
                return f'there is no method {method}'
        return None if name in PROGRAMS else f'{name} is not among the programs that commands.py knows'

    def line(self, text):
        try:
            commands = list(split(text))
        except ValueError as error:
            return [f'the shell would not understand it: {error}']
        return [problem for words in commands if (problem := self.command(words))]


def shell_lines(text):
    """(line number, command line) of every shell block, of indented lines and code spans that begin with our programs."""
    fence = None
    joined, start = '', 0
    for number, line in enumerate(text.splitlines(), start=1):
        mark = re.match(r'\s*```(\w*)', line)
        if mark:
            fence = mark.group(1) if fence is None else None
        elif fence in ('sh', 'bash', 'console') or (fence is None and re.match(r'\s{4,}(sudo -u mptd )?mptd?(ctl)? ', line)):
            start = start if joined else number
            joined += re.sub(r'^\s*\$ ', '', line).strip()
            if joined.endswith('\\'):
                joined = joined[:-1] + ' '
            elif joined:
                yield start, joined
                joined = ''
        elif fence is None:
            for span in re.findall(r'`([^`]+)`', line):
                if re.match(r'(sudo -u mptd )?mpt(d|ctl) \S', span):
                    yield number, span


def main():
    source, programs = sys.argv[1:]
    pages = [os.path.join(source, 'README.md'), os.path.join(source, 'cli/README.md')]
    for folder in ('docs', 'deploy'):
        pages += sorted(glob.glob(os.path.join(source, folder, '**/*.md'), recursive=True))
    checker = Checker(source, programs)
    wrong = []
    if not program(os.path.join(programs, 'mptctl')).subcommands:
        wrong.append('mptctl --help names no subcommands')
    for page in pages:
        name = os.path.relpath(page, source)
        if name in GENERATED:
            continue
        for number, line in shell_lines(read(page)):
            wrong += [f'{name}:{number}: {problem}: {line}' for problem in checker.line(line)]
    print('\n'.join(wrong) or f'{checker.count} commands in {len(pages)} pages exist')
    return 1 if wrong or checker.count == 0 else 0


if __name__ == '__main__':
    sys.exit(main())

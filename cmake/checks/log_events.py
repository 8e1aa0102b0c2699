#!/usr/bin/env python3
"""Checks that the log's events are those of the table in docs/HEALTH_AND_LOGS.md, and that runbooks look for no others.
    log_events.py SOURCE_DIR
"""
import glob
import os
import re
import sys

# A call of a Logger, up to its fields: .Info(LogModule::kStorage, "name", {{...
CALL = re.compile(r'(?:Info|Warn|Error|Debug|Critical|Log|FormatLogLine)\(([^;]*?)(?:\{\{|\);)', re.DOTALL)
MODULE = re.compile(r'(?:LogModule::k\w+|\bk(?:Server|Engine|Storage|Rpc|Config)),')
FOLDERS = ('backup', 'metrics', 'security', 'server', 'tls')


def read(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


def logged(source):
    """Every event in the sources, with the file that it is in."""
    events = {}
    for folder in FOLDERS:
        for path in glob.glob(os.path.join(source, folder, '*.cc')):
            for call in CALL.findall(read(path)):
                module = MODULE.search(call)
                for name in re.findall(r'"([a-z_]+)"', call[module.end():]) if module else ():
                    events.setdefault(name, os.path.relpath(path, source))
    return events


def documented(source):
    """The names in the first column of the table of events."""
    table = read(os.path.join(source, 'docs/HEALTH_AND_LOGS.md')).partition('| event | level |')[2].partition('\n\n')[0]
    return {name for line in table.splitlines() for name in re.findall(r'`(\w+)`', line.split('|')[1] if '|' in line else '')}


def looked_for(source):
    """(runbook, event) of what runbooks search the daemon's log for, where that looks like an event."""
    for path in sorted(glob.glob(os.path.join(source, 'docs/runbooks/*.md'))):
        for line in re.findall(r'^journalctl -u mptd .*\| grep (.*)$', read(path), re.MULTILINE):
            for prefix, group in re.findall(r'(\w+_)\(([\w|]+)\)', line):
                yield from ((os.path.basename(path), prefix + rest) for rest in group.split('|'))
            for name in re.findall(r'(?<![\w(])[a-z]+(?:_[a-z]+)+(?![\w(])', re.sub(r'\w+_\([\w|]+\)', '', line)):
                yield os.path.basename(path), name


def main():
    source = sys.argv[1]
    events, table = logged(source), documented(source)
    wrong = [f'{path}: the event {name} is not in docs/HEALTH_AND_LOGS.md' for name, path in sorted(events.items()) if name not in table]
    wrong += [f'docs/HEALTH_AND_LOGS.md: nobody logs {name}' for name in sorted(table - set(events))]
    # Checks of health have names, too.
    known = table | set(re.findall(r'^\| `(\w+)`', read(os.path.join(source, 'docs/HEALTH_AND_LOGS.md')), re.MULTILINE))
    wrong += [f'docs/runbooks/{page}: there is no event {name}' for page, name in looked_for(source) if name not in known]
    print('\n'.join(wrong) or f'{len(events)} events of the log are documented')
    return 1 if wrong or not events else 0


if __name__ == '__main__':
    sys.exit(main())

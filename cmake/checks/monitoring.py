#!/usr/bin/env python3
"""Checks deploy/monitoring: alerts with promtool and their cases for completeness, a runbook for each alert, the dashboard, the
compose file.
    monitoring.py SOURCE_DIR
"""
import json
import os
import re
import subprocess
import sys

import yaml

SEVERITIES = {'critical', 'high', 'warning'}
MIN_ALERTS = 15
RUNBOOKS = '{{ or $externalLabels.runbooks `file:///usr/share/doc/mptd/docs/runbooks` }}'


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as file:
        return file.read()


def rules_of(folder):
    for group in yaml.safe_load(read(folder, 'alerts.yml'))['groups']:
        yield from group['rules']


def run(folder, *command):
    """What a command says when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return [f'{command[0]} is not installed; scripts/setup --test does it']
    return [done.stdout + done.stderr] if done.returncode != 0 else []


def rule_problems(rule):
    name = rule['alert']
    notes = rule['annotations']
    if rule['labels'].get('severity') not in SEVERITIES:
        yield f'{name}: severity is none of {", ".join(sorted(SEVERITIES))}'
    if not notes.get('summary'):
        yield f'{name}: no summary'
    if '$value' not in notes.get('description', ''):
        yield f'{name}: the description does not say the value'
    if notes.get('runbook_url') != f'{RUNBOOKS}/{name}.md':
        yield f'{name}: runbook_url does not lead to {name}.md'


def case_problems(rules, tests):
    """Every alert with every severity must fire in one case, and be silent in another with the metrics that it looks at."""
    for rule in rules:
        name, severity = rule['alert'], rule['labels']['severity']
        fires = silent = False
        for test in tests:
            looked_at = any(re.search(rf'\b{re.escape(given["series"].partition("{")[0])}\b', rule['expr'])
                            for given in test['input_series'])
            for case in test['alert_rule_test']:
                if case['alertname'] != name:
                    continue
                expected = any(alert['exp_labels'].get('severity') == severity for alert in case['exp_alerts'])
                fires = fires or expected
                silent = silent or (looked_at and not expected)
        if not fires:
            yield f'{name} ({severity}): no case of alerts_test.yml in which it fires'
        if not silent:
            yield f'{name} ({severity}): no case of alerts_test.yml in which it does not'


def runbook_problems(source, names):
    books = {name[:-3] for name in os.listdir(os.path.join(source, 'docs/runbooks')) if name.endswith('.md')}
    for name in sorted(names - books):
        yield f'{name}: no docs/runbooks/{name}.md'
    for name in sorted(books - names):
        yield f'docs/runbooks/{name}.md: no such alert'
    for name in sorted(books):
        text = read(source, 'docs/runbooks', name + '.md')
        headings = re.findall('^#+ (.*)$', text, re.MULTILINE)
        expected = [name, 'What it means', 'Who is hurt', 'See it', 'Do', 'Escalate', 'Prevent']
        if headings != expected:
            yield f'docs/runbooks/{name}.md: its headings are {headings}, not {expected}'


def overlap(a, b):
    return a['x'] < b['x'] + b['w'] and b['x'] < a['x'] + a['w'] and a['y'] < b['y'] + b['h'] and b['y'] < a['y'] + a['h']


def dashboard_problems(folder):
    panels = json.loads(read(folder, 'dashboard.json'))['panels']
    ids = [panel['id'] for panel in panels]
    if len(set(ids)) != len(ids):
        yield 'dashboard.json: two panels have the same id'
    for i, panel in enumerate(panels):
        title, place = panel['title'], panel['gridPos']
        if place['x'] + place['w'] > 24:
            yield f'dashboard.json: "{title}" is beyond the grid'
        for other in panels[:i]:
            if overlap(place, other['gridPos']):
                yield f'dashboard.json: "{title}" lies over "{other["title"]}"'
        if panel['type'] == 'row':
            continue
        if not panel.get('description') or not panel['fieldConfig']['defaults'].get('unit') or not panel['targets']:
            yield f'dashboard.json: "{title}" has no description, unit or query'


def compose_problems(folder):
    for path in ('grafana/datasource.yml', 'grafana/dashboards.yml'):
        if yaml.safe_load(read(folder, path)).get('apiVersion') != 1:
            yield f'{path}: apiVersion is not 1'
    compose = yaml.safe_load(read(folder, 'compose.yml'))
    for name, service in compose['services'].items():
        if not re.search(r':v?\d+\.\d+\.\d+$', service['image']):
            yield f'compose.yml: the image of {name} has no exact version'
        for volume in service['volumes']:
            given = volume.partition(':')[0]
            known = os.path.isfile(os.path.join(folder, given)) if given.startswith('./') else given in compose['volumes']
            if not known:
                yield f'compose.yml: {name} takes {given}, which is not there'


def main():
    source = sys.argv[1]
    folder = os.path.join(source, 'deploy/monitoring')
    rules = list(rules_of(folder))
    names = {rule['alert'] for rule in rules}
    wrong = [*run(folder, 'promtool', 'check', 'rules', 'alerts.yml'),
             *run(folder, 'promtool', 'check', 'config', 'prometheus.yml'),
             *run(folder, 'promtool', 'test', 'rules', 'alerts_test.yml'),
             *run(folder, sys.executable, '-B', 'dashboard.py', '--check')]
    for rule in rules:
        wrong += rule_problems(rule)
    wrong += case_problems(rules, yaml.safe_load(read(folder, 'alerts_test.yml'))['tests'])
    wrong += runbook_problems(source, names)
    wrong += dashboard_problems(folder)
    wrong += compose_problems(folder)
    if len(names) < MIN_ALERTS:
        wrong.append(f'there are only {len(names)} alerts')
    if 'runbooks' not in yaml.safe_load(read(folder, 'prometheus.yml'))['global']['external_labels']:
        wrong.append('prometheus.yml: no external label "runbooks", which every runbook_url begins with')
    print('\n'.join(wrong) or f'{len(names)} alerts have cases for and against them and a runbook; the dashboard is in order')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

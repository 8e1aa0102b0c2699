#!/usr/bin/env python3
"""Draws records of mptd-bench (-o json), bench/peers and bench/growth as SVG files. Needs nothing but Python.

    plot.py [--out DIR] [--label NAME]... RECORD.json...

Each file has one JSON object a line. A label is given for each record in turn; those left over are called by their
target and durability. Writes into DIR (the current folder):
    blocks.svg       the time of each block, in the order of the blocks
    percentiles.svg  the part of the blocks that took at most so long
    rates.svg        updates, reads and proofs a second
    sizes.svg        disk and memory
    readers.svg      the time of a read alone and beside blocks that are applied without pause
With --against updates or --against accounts, the records are curves instead, and only these are written:
    growth.svg       the time of a block against the size of the block or of the state
and, against accounts, of records of bench/growth
    per-account.svg  disk and memory of an account
    restart.svg      the restart after a clean stop and after kill -9, and the first block
    caches.svg       the time of each block with the default caches and with smaller ones, for the size that has both
"""
import argparse
import json
import math
import os
import re
import sys
from xml.sax.saxutils import escape

COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')
WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 50, 60


class Svg:
    """Lines of an SVG file, with the few shapes that are needed."""

    def __init__(self, title):
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
        self.text(WIDTH / 2, 20, title, anchor='middle', size=15)

    def text(self, x, y, text, anchor='start', size=12, colour='#222'):
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
                          f'{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour='#ddd'):
        self.lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def rect(self, x, y, width, height, colour):
        self.lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def path(self, points, colour):
        text = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        self.lines.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.3"/>')

    def write(self, path):
        with open(path, 'w', encoding='utf-8') as file:
            file.write('\n'.join(self.lines + ['</svg>\n']))


class LogAxis:
    """Maps values to heights, a power of ten at a time."""

    def __init__(self, values):
        values = [value for value in values if value > 0] or [1]
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))

    def y(self, value):
        part = (math.log10(max(value, 10 ** self.low)) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def draw(self, svg, unit):
        for power in range(self.low, self.high + 1):
            svg.line(LEFT, self.y(10 ** power), WIDTH - RIGHT, self.y(10 ** power))
            svg.text(LEFT - 6, self.y(10 ** power) + 4, readable(10 ** power), anchor='end')
        svg.text(LEFT - 6, TOP - 8, unit, anchor='end')


def readable(value):
    for size, suffix in ((1e6, ' M'), (1e3, ' k')):
        if value >= size:
            return f'{value / size:.3g}{suffix}'
    return f'{value:.3g}'


def draw_legend(svg, labels):
    x = LEFT
    for i, label in enumerate(labels):
        svg.rect(x, 32, 10, 10, COLOURS[i % len(COLOURS)])
        svg.text(x + 14, 41, label)
        x += 30 + 7 * len(label)


def draw_lines(title, x_text, labels, series, x_of):
    """Times in ms over what x_of(record's number, i, count) says, from 0 to 1."""
    svg = Svg(title)
    axis = LogAxis([value for values in series for value in values])
    axis.draw(svg, 'ms')
    draw_legend(svg, labels)
    for n, values in enumerate(series):
        points = [(LEFT + x_of(i, len(values)) * (WIDTH - LEFT - RIGHT), axis.y(value)) for i, value in enumerate(values)]
        svg.path(points, COLOURS[n % len(COLOURS)])
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, x_text, anchor='middle')
    return svg


# Percentiles are drawn so that 90, 99 and 99.9 % are equally far from each other.
NINES = 3


def percentile_x(i, count):
    return min(1.0, -math.log10(1 - i / count) / NINES)


def draw_percentiles(labels, series):
    svg = draw_lines('Time of a block: this part of them took at most so long', '', labels,
                     [sorted(values) for values in series], percentile_x)
    for part in (0, 0.5, 0.9, 0.99, 0.999):
        x = LEFT + percentile_x(part, 1) * (WIDTH - LEFT - RIGHT)
        svg.line(x, TOP, x, HEIGHT - BOTTOM)
        svg.text(x, HEIGHT - BOTTOM + 18, f'{100 * part:g} %', anchor='middle')
    return svg


def draw_bars(title, unit, labels, records, figures):
    """A group of bars for every figure, in it one bar for every record."""
    svg = Svg(title)
    axis = LogAxis([record.get(key, 0) for record in records for key, _ in figures])
    axis.draw(svg, unit)
    draw_legend(svg, labels)
    group = (WIDTH - LEFT - RIGHT) / len(figures)
    bar = group * 0.8 / len(records)
    for g, (key, name) in enumerate(figures):
        left = LEFT + g * group + group * 0.1
        for n, record in enumerate(records):
            if key not in record:
                continue
            y = axis.y(record[key])
            svg.rect(left + n * bar, y, bar * 0.92, HEIGHT - BOTTOM - y, COLOURS[n % len(COLOURS)])
            svg.text(left + (n + 0.46) * bar, y - 4, readable(record[key]), anchor='middle', size=9)
        svg.text(left + group * 0.4, HEIGHT - BOTTOM + 18, name, anchor='middle')
    return svg


def draw_growth(title, unit, x_text, points, figures):
    """The figures (key, name) of each (x, record) over x, both axes in powers of ten."""
    svg = Svg(title)
    points = sorted(points, key=lambda point: point[0])
    axis = LogAxis([record[key] for _, record in points for key, _ in figures])
    axis.draw(svg, unit)
    draw_legend(svg, [name for _, name in figures])
    low, high = math.log10(points[0][0]), math.log10(points[-1][0])

    def x_of(value):
        return LEFT + 20 + (math.log10(value) - low) / max(high - low, 1e-9) * (WIDTH - LEFT - RIGHT - 60)

    for x, _ in points:
        svg.line(x_of(x), TOP, x_of(x), HEIGHT - BOTTOM)
        svg.text(x_of(x), HEIGHT - BOTTOM + 18, readable(x), anchor='middle')
    for n, (key, _) in enumerate(figures):
        svg.path([(x_of(x), axis.y(record[key])) for x, record in points], COLOURS[n])
        for x, record in points:
            svg.text(x_of(x) + 4, axis.y(record[key]) - 4, readable(record[key]), size=9, colour=COLOURS[n])
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 15, x_text, anchor='middle')
    return svg


BLOCK_TIMES = (('block_p50_ms', 'p50'), ('block_p90_ms', 'p90'), ('block_p99_ms', 'p99'))
ACCOUNT_BYTES = (('disk_account_bytes', 'disk'), ('memory_account_bytes', 'peak memory'))
RESTARTS = (('restart_ms', 'after a clean stop'), ('kill_restart_ms', 'after kill -9 with a full queue'),
            ('cold_block_ms', 'the first block afterwards'))


def in_milliseconds(record):
    return {**record, **{f'{key}_ms': 1e3 * record[f'{key}_s'] for key in ('restart', 'kill_restart') if f'{key}_s' in record}}


def split_by_caches(records):
    """The records whose caches are the largest of all, and the others."""
    most = max(record.get('cache_limit_mb', 0) for record in records)
    default = [record for record in records if record.get('cache_limit_mb', 0) == most]
    return default, [record for record in records if record not in default]


def draw_caches(default, limited):
    """Blocks of the limited records and of the default ones of the same size."""
    sizes = {record['accounts'] for record in limited}
    both = [record for record in [*default, *limited] if record['accounts'] in sizes]
    labels = [f'caches of {readable(record["cache_limit_mb"])} MB: p50 {readable(record["block_p50_ms"])}, '
              f'p99 {readable(record["block_p99_ms"])} ms' for record in both]
    title = f'Time of each block, {", ".join(map(readable, sorted(sizes)))} accounts'
    return draw_lines(title, 'blocks', labels, [record['block_ms'] for record in both], lambda i, count: i / count)


def curves(against, records):
    """The plots of --against, by file name."""
    x_text = {'updates': 'updates in a block', 'accounts': 'accounts in the state'}[against]
    default, limited = split_by_caches(records)
    points = [(sizes_of(record)[against], in_milliseconds(record)) for record in default]

    def draw(what, unit, figures):
        return draw_growth(f'{what} against {x_text}', unit, x_text, points, figures)

    plots = {'growth.svg': draw('Time of a block', 'ms', BLOCK_TIMES)}
    if against == 'updates' or not all('accounts' in record for record in records):
        return plots
    plots['per-account.svg'] = draw('Disk and memory of an account', 'bytes', ACCOUNT_BYTES)
    plots['restart.svg'] = draw('Time of a restart', 'ms', RESTARTS)
    if limited:
        plots['caches.svg'] = draw_caches(default, limited)
    return plots


def sizes_of(record):
    """Accounts of the state and updates of a block, as the record's workload says."""
    found = re.match(r'(\d+) accounts, \d+ blocks of (\d+) updates', record['workload'])
    if found is None:
        sys.exit(f'plot.py: the workload "{record["workload"]}" has no accounts to draw against')
    return {'accounts': int(found[1]), 'updates': int(found[2])}


def name_of(record):
    words = [record.get('target', '?')]
    if 'durability' in record:
        words = ['mptd', *words, record['durability']]
    return ' '.join(words)


def comparison(labels, records):
    """The plots of records beside each other, by file name."""
    series = [record.get('block_ms', []) for record in records]
    return {
        'blocks.svg': draw_lines('Time of each block', 'blocks', labels, series, lambda i, count: i / count),
        'percentiles.svg': draw_percentiles(labels, series),
        'rates.svg': draw_bars('How many a second', '/s', labels, records, [
            ('updates_per_s', 'updates'), ('read_cold_per_s', 'reads, cold'), ('read_warm_per_s', 'reads, warm'),
            ('proof_cold_per_s', 'proofs, cold'), ('proof_warm_per_s', 'proofs, warm')]),
        'readers.svg': draw_bars('Time of a read', 'us', labels, records, [
            ('read_warm_p50_us', 'p50 alone'), ('reader_idle_p99_us', 'p99 alone'),
            ('reader_beside_p99_us', 'p99 beside blocks'), ('reader_beside_p999_us', 'p99.9 beside blocks')]),
        'sizes.svg': draw_bars('Disk and memory', 'MB', labels, records, [('disk_mb', 'disk'), ('peak_mb', 'peak memory')]),
    }


def load(paths):
    records = []
    for path in paths:
        with open(path, encoding='utf-8') as file:
            records += [json.loads(line) for line in file if line.strip()]
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='.')
    parser.add_argument('--label', action='append', default=[])
    parser.add_argument('--against', choices=('updates', 'accounts'))
    parser.add_argument('record', nargs='+')
    arguments = parser.parse_args()
    records = load(arguments.record)
    if not records:
        sys.exit('plot.py: the files hold no record')
    labels = arguments.label[:len(records)] + [name_of(record) for record in records[len(arguments.label):]]
    os.makedirs(arguments.out, exist_ok=True)

    plots = curves(arguments.against, records) if arguments.against else comparison(labels, records)
    for name, svg in plots.items():
        svg.write(os.path.join(arguments.out, name))
    print(f'{len(plots)} plot{"s" if len(plots) > 1 else ""} of {len(records)} records in {arguments.out}')


if __name__ == '__main__':
    main()

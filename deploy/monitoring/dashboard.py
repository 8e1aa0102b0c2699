#!/usr/bin/env python3
"""Writes dashboard.json, the Grafana dashboard of mptd, from the tables below; a check compares them.
    dashboard.py [--check]
"""
import json
import os
import sys

WIDTH = 24  # columns of Grafana's grid
INSTANCE = 'instance=~"$instance"'
DATASOURCE = {'type': 'prometheus', 'uid': '${datasource}'}
FIRING = 'alertstate="firing"'
NO_ROOM = 'code="RESOURCE_EXHAUSTED"'
LEVELS = [(0, 'failed', 'dark-red'), (1, 'critical', 'red'), (2, 'degraded', 'orange'), (3, 'healthy', 'green')]


# --- expressions ----------------------------------------------------------------------------------------------------

def metric(name, *labels):
    return f'{name}{{{",".join((INSTANCE,) + labels)}}}'


def rate(name, *labels):
    return f'rate({metric(name, *labels)}[$__rate_interval])'


def total(expression, *by):
    return f'sum by ({", ".join(("instance",) + by)}) ({expression})'


def quantile(q, name, *labels, by=()):
    return f'histogram_quantile({q}, {total(rate(name + "_bucket", *labels), "le", *by)})'


def percentiles(name, *labels):
    return [(quantile(q, name, *labels), f'p{100 * q:g} {{{{instance}}}}') for q in (0.5, 0.95, 0.99)]


def each(name, *labels, legend='{{instance}}'):
    return [(metric(name, *labels), legend)]


def each_rate(name, *labels, legend='{{instance}}'):
    return [(rate(name, *labels), legend)]


def hit_rate(hits, misses, *by):
    found, lost = total(rate(hits), *by), total(rate(misses), *by)
    return f'{found} / ({found} + {lost})'


# --- panels ---------------------------------------------------------------------------------------------------------

def panel(kind, title, description, unit, targets, width, height, defaults=None, options=None):
    return {
        'type': kind, 'title': title, 'description': description, 'datasource': DATASOURCE,
        'gridPos': {'w': width, 'h': height},
        'fieldConfig': {'defaults': {'unit': unit, **(defaults or {})}, 'overrides': []},
        'options': options or {},
        'targets': [{'refId': chr(ord('A') + i), 'datasource': DATASOURCE, 'expr': expression, 'legendFormat': legend,
                     'instant': kind == 'stat', 'range': kind != 'stat'}
                    for i, (expression, legend) in enumerate(targets)],
    }


def thresholds(*steps):
    """(value, colour) pairs; the first holds from minus infinity."""
    return {'thresholds': {'mode': 'absolute', 'steps': [{'value': None if i == 0 else value, 'color': colour}
                                                         for i, (value, colour) in enumerate(steps)]}}


def stat(title, description, unit, expression, steps=((0, 'text'),), legend='{{instance}}', **defaults):
    return panel('stat', title, description, unit, [(expression, legend)], 4, 4, {**thresholds(*steps), **defaults},
                 {'reduceOptions': {'calcs': ['lastNotNull']}, 'colorMode': 'value', 'graphMode': 'none',
                  'textMode': 'name' if legend == '{{version}}' else 'auto'})


def graph(title, description, unit, targets, stack=False, spread=False, width=8, **defaults):
    """From zero on, unless `spread`: then as far as the values go."""
    custom = {'fillOpacity': 30 if stack else 5, 'stacking': {'mode': 'normal' if stack else 'none'}}
    return panel('timeseries', title, description, unit, targets, width, 8, {'custom': custom, **({} if spread else {'min': 0}), **defaults},
                 {'legend': {'displayMode': 'list', 'placement': 'bottom'}, 'tooltip': {'mode': 'multi', 'sort': 'desc'}})


def level_names():
    return [{'type': 'value', 'options': {str(level): {'text': name, 'color': colour, 'index': level}
                                          for level, name, colour in LEVELS}}]


def overview():
    reads = 'method=~"GetAccount|GetAccounts|GetStorage"'
    return [
        stat('Health', 'The level of the worst check, from 0 to 3; /readyz?verbose says why.', 'none',
             metric('state_health_level'), [(level, colour) for level, _, colour in LEVELS], mappings=level_names()),
        stat('Firing alerts', 'How many alerts fire; those for the absence of mptd carry no instance and are not counted.',
             'none', f'count({metric("ALERTS", FIRING)}) or vector(0)',
             [(0, 'green'), (1, 'red')], legend='alerts'),
        stat('Head', 'Number of the newest block.', 'none', metric('state_head_block')),
        stat('Not durable', 'Blocks that a crash of the machine would take back.', 'none',
             metric('state_durable_lag_blocks'), [(0, 'green'), (2048, 'orange')]),
        stat('Up for', 'Time since the daemon started.', 's', metric('mptd_uptime_seconds')),
        stat('Version', 'What is running.', 'none', metric('mptd_build_info'), legend='{{version}}'),
        stat('Blocks', 'Blocks applied a second.', 'ops', rate('mptd_blocks_applied_total')),
        stat('Block p99', 'One block in a hundred takes so long or longer, of the last minute, as its caller sees it.', 'ms',
             metric('state_update_latency_p99_ms'), [(0, 'green'), (100, 'orange'), (500, 'red')]),
        stat('Read p99', 'The same of reads of accounts and slots.', 'ms', metric('state_lookup_latency_p99_ms'),
             [(0, 'green'), (50, 'orange'), (200, 'red')]),
        stat('Reads', 'Calls a second that read accounts and slots.', 'reqps', total(rate('mptd_grpc_calls_total', reads))),
        stat('Memory', 'Resident memory, of what the process may have.', 'percent', metric('state_memory_usage_percent'),
             [(0, 'green'), (85, 'orange'), (95, 'red')]),
        stat('Disk free', 'Free space of the file system with the data folder.', 'bytes', metric('state_disk_free_bytes')),
        panel('state-timeline', 'Health checks', 'The level of each check; what they look at is in docs/HEALTH_AND_LOGS.md.',
              'none', each('mptd_health_check_level', legend='{{check}} {{instance}}'), WIDTH, 8,
              {'mappings': level_names(), **thresholds(*[(level, colour) for level, _, colour in LEVELS])},
              {'showValue': 'never', 'mergeValues': True}),
    ]


def blocks():
    changed = [('accounts', 'mptd_accounts_changed_total'), ('slots', 'mptd_slots_changed_total'),
               ('nodes hashed', 'mptd_nodes_hashed_total')]
    marks = [('head', 'state_head_block'), ('durable', 'state_durable_block'), ('flushed', 'state_flushed_block'),
             ('oldest served', 'state_oldest_served_block')]
    refused = 'method=~"ApplyStateChanges|ApplyStateChangesStream",code!="OK"'
    return [
        graph('Time of a block', 'From its turn in the queue to its readers, without the network.', 's',
              percentiles('mptd_block_seconds')),
        graph('Where it goes', 'Mean time of the parts of a block: waiting for the writer, reading what changes, branches '
              'and their hashes, the change log, showing it to readers.', 's',
              [(f'{total(rate("mptd_block_part_seconds_sum"), "part")} / '
                f'{total(rate("mptd_block_part_seconds_count"), "part")}', '{{part}} {{instance}}')], stack=True),
        graph('Work of blocks', 'What blocks change, a second.', 'ops',
              [(rate(name), f'{title} {{{{instance}}}}') for title, name in changed]),
        graph('Chain', 'Block numbers: lines that run apart show what waits for the disk, and the window that is served.',
              'none', [(metric(name), f'{title} {{{{instance}}}}') for title, name in marks], spread=True),
        graph('Age of the head', 'Time since the last block was applied; since 1970 when there was none since the start.', 's',
              [(f'time() - {metric("mptd_last_block_timestamp_seconds")}', '{{instance}}')]),
        graph('Refused and undone', 'Blocks refused, those of them whose root differs, and rollbacks, a second.', 'ops',
              [(total(rate('mptd_grpc_calls_total', refused), 'code'), '{{code}} {{instance}}'),
               (rate('state_root_mismatches_total'), 'root differs {{instance}}'),
               (rate('state_rollbacks_total'), 'rollbacks {{instance}}')]),
        graph('State', 'Accounts, slots and nodes of the newest state.', 'short',
              [(metric(f'state_total_{what}'), f'{what} {{{{instance}}}}') for what in ('accounts', 'slots', 'nodes')]),
        graph('Depth', 'Nibbles above the accounts of a sample; the mean follows the logarithm of their number.', 'none',
              [(metric('state_avg_depth'), 'mean {{instance}}'), (metric('state_max_depth'), 'most {{instance}}')]),
        graph('Throughput', 'Calls and streamed blocks answered a second, of the last minute.', 'ops',
              each('state_throughput_ops_per_sec')),
    ]


def reads():
    lookups = 'method=~"GetAccount|GetAccounts|GetStorage|GetCode"'
    proofs = 'method=~"GetProof|GetMultiProof"'
    by_method = '{{method}} {{instance}}'
    return [
        graph('Reads', 'Calls a second.', 'reqps', [(total(rate('mptd_grpc_calls_total', lookups), 'method'), by_method)]),
        graph('Time of reads', 'From the first byte to the answer, inside the daemon.', 's',
              percentiles('mptd_grpc_call_seconds', lookups)),
        graph('Lookups in memory', 'Share of account and slot lookups that needed no table.', 'percentunit',
              [(hit_rate('state_cache_hits_total', 'state_cache_misses_total', 'cache'), '{{cache}} {{instance}}'),
               (metric('state_cache_hit_rate'), 'accounts, last minute {{instance}}')], max=1),
        graph('Proofs', 'Calls a second.', 'reqps', [(total(rate('mptd_grpc_calls_total', proofs), 'method'), by_method)]),
        graph('Time of proofs', 'From the first byte to the answer, inside the daemon.', 's',
              percentiles('mptd_grpc_call_seconds', proofs)),
        graph('Dry runs', 'Time of ComputeStateRoot, which applies nothing.', 's',
              percentiles('mptd_grpc_call_seconds', 'method="ComputeStateRoot"')),
    ]


def persistence():
    return [
        graph('Queue', 'Blocks that are not in the tables yet.', 'none', each('state_persistence_queue_depth')),
        graph('Memory of the queue', 'Blocks wait when it reaches persistence.queue_bytes.', 'bytes',
              each('state_persistence_queue_bytes')),
        graph('Dirty nodes', 'Branches in memory that the next flush writes.', 'short', each('state_dirty_nodes')),
        graph('Time of flushes', 'Writing the queue to the tables.', 's', percentiles('state_flush_seconds')),
        graph('Flushes', 'How often the queue is written.', 'ops', each_rate('state_flushes_total')),
        graph('Rows flushed', 'Rows written to the tables a second.', 'wps', each_rate('state_flushed_rows_total')),
        graph('Time of syncs', 'Making the change log durable; in mode sync every block waits for one.', 's',
              percentiles('state_log_sync_seconds')),
        graph('Not durable', 'Blocks behind the head that a crash of the machine could take back.', 'none',
              each('state_durable_lag_blocks')),
        graph('Trouble', 'Flushes that failed, and blocks that found the queue full, a second.', 'ops',
              [(rate('state_persistence_failures_total'), 'failed {{instance}}'),
               (rate('state_back_pressure_total'), 'waited {{instance}}')]),
        graph('Change log', 'Its size; it shrinks as blocks are flushed.', 'bytes', each('state_change_log_bytes')),
        graph('Pruning', 'Blocks whose history was dropped, and how often, a second.', 'ops',
              [(rate('state_pruned_blocks_total'), 'blocks {{instance}}'), (rate('state_prunes_total'), 'times {{instance}}')]),
        graph('Checkpoints', 'Age of the newest in backup.dir; empty when that is not set.', 's',
              [(f'time() - {metric("mptd_backup_last_timestamp_seconds")}', '{{instance}}')]),
    ]


def caches():
    return [
        graph('Memory', 'Resident memory, and the part that RocksDB accounts for.', 'bytes',
              [(metric('process_resident_memory_bytes', 'job="mptd"'), 'resident {{instance}}'),
               (metric('mptd_rocksdb_memory_bytes'), 'RocksDB {{instance}}')]),
        graph('Caches', 'Memory of the caches above the tables.', 'bytes',
              each('state_cache_memory_bytes', legend='{{cache}} {{instance}}'), stack=True),
        graph('Share of memory', 'Resident, of what the process may have.', 'percent', each('state_memory_usage_percent'),
              max=100),
        graph('Lookups', 'Found in memory, a second.', 'ops',
              each_rate('state_cache_hits_total', legend='{{cache}} {{instance}}')),
        graph('Misses', 'Read from the tables, a second.', 'ops',
              each_rate('state_cache_misses_total', legend='{{cache}} {{instance}}')),
        graph('Evictions', 'Taken out to stay within the size, a second; the rows that are left.', 'ops',
              each_rate('state_cache_evictions_total', legend='{{cache}} {{instance}}')),
    ]


def disk():
    moved = [('compaction reads', 'compaction_read'), ('compaction writes', 'compaction_write'),
             ('rows read', 'read'), ('rows read together', 'multiget_read')]
    return [
        graph('Free space', 'Of the file system with the data folder.', 'bytes', each('state_disk_free_bytes')),
        graph('Data folder', 'Its size, and that of the newest state without history.', 'bytes',
              [(metric('state_disk_bytes'), 'all {{instance}}'), (metric('state_trie_size_bytes'), 'state {{instance}}')]),
        graph('Tables', 'Size of the files of each.', 'bytes', each('mptd_table_bytes', legend='{{table}} {{instance}}'),
              stack=True),
        graph('Block cache', 'Share of the blocks of tables that RocksDB had in memory.', 'percentunit',
              [(hit_rate('mptd_rocksdb_block_cache_hits_total', 'mptd_rocksdb_block_cache_misses_total'), '{{instance}}')],
              max=1),
        graph('Bytes', 'What RocksDB reads and rewrites.', 'Bps',
              [(rate(f'mptd_rocksdb_{name}_bytes_total'), f'{title} {{{{instance}}}}') for title, name in moved]),
        graph('Filters', 'Reads that a Bloom filter made needless, a second.', 'ops',
              each_rate('mptd_rocksdb_bloom_filter_useful_total')),
        graph('Compaction backlog', 'About what compactions have yet to rewrite.', 'bytes',
              each('mptd_rocksdb_pending_compaction_bytes')),
        graph('Compactions', 'How many run.', 'none', each('mptd_rocksdb_running_compactions')),
        graph('Stalls', 'Share of the time that compactions make writes wait.', 'percentunit',
              each_rate('mptd_rocksdb_stall_seconds_total')),
        graph('Table files', 'Opened, and failed to open, a second.', 'ops',
              [(rate('mptd_rocksdb_file_opens_total'), 'opened {{instance}}'),
               (rate('mptd_rocksdb_file_errors_total'), 'failed {{instance}}')]),
    ]


def calls():
    return [
        graph('Calls', 'Answered a second, by call.', 'reqps',
              [(total(rate('mptd_grpc_calls_total'), 'method') + ' > 0', '{{method}} {{instance}}')]),
        graph('Errors', 'Calls a second that did not end well, by call and status.', 'reqps',
              [(total(rate('mptd_grpc_calls_total', 'code!="OK"'), 'method', 'code'), '{{method}} {{code}} {{instance}}')]),
        graph('p99 by call', 'One call in a hundred takes so long or longer; of streams of blocks, each block.', 's',
              [(quantile(0.99, 'mptd_grpc_call_seconds', by=('method',)), '{{method}} {{instance}}')]),
        graph('Running', 'Calls that wait, work on a pool or stream, and streams that are open.', 'none',
              [(metric('mptd_grpc_running_calls'), 'calls {{instance}}'),
               (metric('mptd_grpc_open_streams'), 'streams {{instance}}')], width=12),
        graph('Refused for want of room', 'RESOURCE_EXHAUSTED, a second.', 'reqps',
              [(f'{total(rate("mptd_grpc_calls_total", NO_ROOM))} '
                f'or {total(rate("mptd_grpc_calls_total"))} * 0', '{{instance}}')], width=12),
    ]


def process():
    job = 'job="mptd"'
    return [
        graph('Processor', 'Cores in use.', 'none', each_rate('process_cpu_seconds_total', job)),
        graph('Open files', 'Against the limit.', 'none',
              [(metric('process_open_fds', job), 'open {{instance}}'), (metric('process_max_fds', job), 'limit {{instance}}')]),
        graph('Threads', 'Of the process.', 'none', each('process_threads', job)),
        graph('Health checks', 'How long each takes, on average; storage is the time of a small synced write.', 's',
              each('mptd_health_check_latency_seconds', legend='{{check}} {{instance}}')),
        graph('Lines of the log lost', 'Dropped because they came faster than they could be written, a second.', 'ops',
              each_rate('mptd_log_lines_lost_total')),
        graph('Scrapes', 'How long /metrics takes.', 's', each('scrape_duration_seconds', job)),
        graph('Certificate', 'Time until the certificate in force expires; nothing without TLS.', 's',
              [(f'{metric("mptd_tls_certificate_not_after_seconds")} - time()', '{{instance}}')], width=12),
        graph('Certificates refused', 'Of callers, in the handshake; a second.', 'ops',
              each_rate('mptd_tls_peers_refused_total'), width=12),
    ]


ROWS = [('Overview', overview), ('Blocks and latency', blocks), ('Reads and proofs', reads),
        ('Persistence and queue', persistence), ('Caches and memory', caches), ('RocksDB and disk', disk),
        ('gRPC by call', calls), ('Process', process)]


# --- the whole ------------------------------------------------------------------------------------------------------

def placed(rows):
    """All panels with their places, left to right and then down, and ids."""
    out = []
    y = 0
    for title, panels in rows:
        out.append({'type': 'row', 'title': title, 'collapsed': False, 'panels': [],
                    'gridPos': {'x': 0, 'y': y, 'w': WIDTH, 'h': 1}})
        y += 1
        x = height = 0
        for item in panels():
            place = item['gridPos']
            if x + place['w'] > WIDTH:
                x, y, height = 0, y + height, 0
            place.update(x=x, y=y)
            x, height = x + place['w'], max(height, place['h'])
            out.append(item)
        y += height
    for number, item in enumerate(out, start=1):
        item['id'] = number
    return out


def variables():
    return [
        {'name': 'datasource', 'type': 'datasource', 'query': 'prometheus', 'label': 'Prometheus', 'hide': 0},
        {'name': 'instance', 'type': 'query', 'label': 'Instance', 'datasource': DATASOURCE, 'hide': 0, 'refresh': 2,
         'sort': 1, 'multi': True, 'includeAll': True, 'allValue': '.*',
         'current': {'selected': True, 'text': ['All'], 'value': ['$__all']},
         'query': {'query': 'label_values(mptd_build_info, instance)', 'refId': 'instance'}},
    ]


def dashboard():
    return {
        'uid': 'mptd', 'title': 'mptd', 'description': 'A Merkle Patricia Trie daemon; docs/METRICS.md explains the figures.',
        'tags': ['mptd'], 'schemaVersion': 39, 'version': 1, 'editable': True, 'graphTooltip': 1, 'timezone': 'browser',
        'refresh': '30s', 'time': {'from': 'now-3h', 'to': 'now'}, 'annotations': {'list': []}, 'links': [],
        'templating': {'list': variables()}, 'panels': placed(ROWS),
    }


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'dashboard.json')
    text = json.dumps(dashboard(), indent=1) + '\n'
    if sys.argv[1:] == ['--check']:
        with open(path, encoding='utf-8') as file:
            if file.read() == text:
                return 0
        print(f'{path} is not what dashboard.py makes; run dashboard.py')
        return 1
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())

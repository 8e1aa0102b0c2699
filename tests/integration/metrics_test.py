"""The metrics of a daemon under load: every name that operators rely on, counters that move, promtool, GetMetrics."""
import json
import re
import shutil
import subprocess
import unittest
import urllib.request

from client import MPTCTL, PATIENCE, PATIENT, Daemon, admin_pb, pb, word

PROMTOOL = shutil.which('promtool')

# The names that dashboards were promised.
PROMISED = [
    'state_total_accounts', 'state_total_nodes', 'state_trie_size_bytes', 'state_avg_depth', 'state_dirty_nodes',
    'state_lookup_latency_p99_ms', 'state_update_latency_p99_ms', 'state_throughput_ops_per_sec',
    'state_cache_hit_rate', 'state_cache_memory_bytes', 'state_persistence_queue_depth',
    'state_persistence_failures_total', 'state_memory_usage_percent', 'state_health_level', 'state_corruption_detected',
]
# And the rest of what is watched.
WATCHED = [
    'state_head_block', 'state_durable_block', 'state_flushed_block', 'state_oldest_served_block',
    'state_durable_lag_blocks', 'state_persistence_queue_bytes', 'state_change_log_bytes', 'state_disk_bytes',
    'state_flush_seconds_count', 'state_log_sync_seconds_count', 'state_prune_seconds_count', 'state_prunes_total', 'state_pruned_blocks_total',
    'state_cache_hits_total', 'state_cache_misses_total', 'state_cache_evictions_total', 'mptd_block_seconds_count',
    'mptd_block_part_seconds_count', 'mptd_grpc_calls_total', 'mptd_grpc_call_seconds_count', 'mptd_table_bytes',
    'mptd_rocksdb_block_cache_hits_total', 'mptd_rocksdb_memory_bytes', 'mptd_build_info',
    'process_resident_memory_bytes', 'process_cpu_seconds_total', 'process_open_fds', 'process_start_time_seconds',
]
# promtool wants seconds for milliseconds, but these names were promised.
PROMISED_UNITS = {'state_lookup_latency_p99_ms', 'state_update_latency_p99_ms', 'state_throughput_ops_per_sec'}

BLOCKS = 20
ACCOUNTS = 50


def address(i):
    return i.to_bytes(20, 'big')


class MetricsTest(unittest.TestCase):
    """One daemon, asked before and after some load."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*PATIENT, '--persistence.mode', 'sync').start()
        cls.before = cls.scrape()
        cls.load()
        # At once, for some of it is of the last minute.
        cls.metrics = cls.daemon.admin.GetMetrics(admin_pb.GetMetricsRequest())
        cls.text = cls.fetch()
        cls.after = cls.parse(cls.text)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    @classmethod
    def load(cls):
        for number in range(1, BLOCKS + 1):
            changes = [pb.AccountChange(address=address(i), nonce=number,
                                        slots=[pb.SlotChange(key=word(number), value=b'\1')])
                       for i in range(number, number + ACCOUNTS)]
            cls.daemon.apply(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big'), changes)
        for i in range(ACCOUNTS):
            cls.daemon.account(address(i + 1))
            cls.daemon.proof(address(i + 1), [word(1)])
        cls.daemon.admin.Flush(admin_pb.FlushRequest())
        cls.daemon.admin.Prune(admin_pb.PruneRequest(keep_blocks=5))

    @classmethod
    def fetch(cls):
        with urllib.request.urlopen(f'http://127.0.0.1:{cls.daemon.http_port}/metrics', timeout=PATIENCE) as answer:
            return answer.read().decode()

    @staticmethod
    def parse(text):
        """Samples by name with labels, and by name alone their sum."""
        samples = {}
        for line in text.splitlines():
            if line.startswith('#'):
                continue
            key, value = line.rsplit(' ', 1)
            samples[key] = float(value)
            name = key.partition('{')[0]
            if name != key:
                samples[name] = samples.get(name, 0) + float(value)
        return samples

    @classmethod
    def scrape(cls):
        return cls.parse(cls.fetch())

    def moved(self, key):
        return self.after[key] - self.before.get(key, 0)

    def test_every_promised_name_is_there_from_the_start(self):
        for name in PROMISED:
            self.assertIn(name, self.before)
            self.assertIn(name, self.after)
        self.assertEqual(self.before['state_cache_hit_rate'], 1, 'nobody has asked: nothing was missed')

    def test_everything_else_is_there(self):
        for name in WATCHED:
            self.assertIn(name, self.after)

    def test_sizes_of_the_state(self):
        accounts = BLOCKS + ACCOUNTS - 1
        self.assertEqual(self.after['state_total_accounts'], accounts)
        self.assertEqual(self.after['state_total_slots'], BLOCKS * ACCOUNTS)
        checked = self.daemon.verify_data()
        self.assertEqual(checked.accounts_checked, accounts)
        self.assertGreaterEqual(self.after['state_total_nodes'],
                                accounts + BLOCKS * ACCOUNTS + checked.nodes_checked)
        self.assertGreater(self.after['state_trie_size_bytes'], 0)
        self.assertGreater(self.after['state_avg_depth'], 1)
        self.assertGreaterEqual(self.after['state_max_depth'], self.after['state_avg_depth'])
        self.assertEqual(self.after['state_dirty_nodes'], 0, 'everything has been flushed')

    def test_counters_moved(self):
        self.assertEqual(self.moved('mptd_blocks_applied_total'), BLOCKS)
        self.assertEqual(self.moved('mptd_block_seconds_count'), BLOCKS)
        for part in ('queue', 'read', 'tries', 'log', 'publish'):
            self.assertEqual(self.moved(f'mptd_block_part_seconds_count{{part="{part}"}}'), BLOCKS)
        self.assertEqual(self.moved('mptd_accounts_changed_total'), BLOCKS * ACCOUNTS)
        self.assertEqual(self.moved('mptd_slots_changed_total'), BLOCKS * ACCOUNTS)
        self.assertGreater(self.moved('mptd_nodes_hashed_total'), BLOCKS * ACCOUNTS)
        self.assertEqual(self.moved('mptd_grpc_call_seconds_count{method="GetAccount"}'), ACCOUNTS)
        self.assertEqual(self.moved('mptd_grpc_calls_total{method="GetProof",code="OK"}'), ACCOUNTS)
        self.assertGreaterEqual(self.moved('state_log_sync_seconds_count'), BLOCKS)
        self.assertGreater(self.moved('state_log_sync_seconds_sum'), 0)
        self.assertGreaterEqual(self.moved('state_flush_seconds_count'), 1)
        self.assertEqual(self.moved('state_pruned_blocks_total'), BLOCKS - 5 - 1)
        self.assertEqual(self.moved('state_prune_seconds_count'), self.moved('state_prunes_total'))
        self.assertGreater(self.moved('state_prune_seconds_sum'), 0)
        self.assertGreaterEqual(self.moved('state_cache_hits_total{cache="accounts"}'), ACCOUNTS)
        self.assertGreater(self.moved('state_cache_hits_total{cache="nodes"}'), 0)
        self.assertGreater(self.moved('process_cpu_seconds_total'), 0)

    def test_gauges_follow(self):
        for name in ('state_head_block', 'state_durable_block', 'state_flushed_block'):
            self.assertEqual(self.after[name], BLOCKS, name)
        self.assertEqual(self.after['state_oldest_served_block'], BLOCKS - 5)
        for check in ('corruption', 'writable', 'queue', 'last_sync', 'log'):
            self.assertEqual(self.after[f'mptd_health_check_level{{check="{check}"}}'], 3, check)
        # How busy the disk of the tests is, and the processor, is not the daemon's doing.
        self.assertIn(self.after['state_health_level'], (2, 3))
        self.assertGreater(self.after['state_lookup_latency_p99_ms'], 0)
        self.assertGreater(self.after['state_update_latency_p99_ms'], 0)
        self.assertGreater(self.after['state_throughput_ops_per_sec'], 0)
        self.assertGreater(self.after['state_cache_hit_rate'], 0)
        self.assertGreater(self.after['mptd_table_bytes{table="accounts"}'], 0)

    def test_no_label_names_an_account_or_a_block(self):
        labels = {label for line in self.text.splitlines() if not line.startswith('#')
                  for label in re.findall(r'[{,](\w+)="', line)}
        self.assertLessEqual(labels, {'cache', 'check', 'code', 'le', 'limit', 'method', 'part', 'pool', 'reason',
                                       'table', 'version'})

    @unittest.skipUnless(PROMTOOL, 'promtool is not installed; scripts/setup --test does it')
    def test_promtool_has_nothing_to_say(self):
        done = subprocess.run([PROMTOOL, 'check', 'metrics'], input=self.text, text=True, capture_output=True,
                              timeout=PATIENCE)
        said = done.stdout + done.stderr
        complaints = {tuple(line.split(' ', 1)) for line in said.splitlines() if line}
        self.assertEqual(complaints, {(name, 'metric names should not contain abbreviated units')
                                      for name in PROMISED_UNITS}, said)

    def test_get_metrics_says_the_same(self):
        metrics = self.metrics
        self.assertEqual(metrics.trie.state_root, self.daemon.head().state_root)
        self.assertEqual(metrics.trie.total_accounts, self.after['state_total_accounts'])
        self.assertEqual(metrics.trie.total_nodes, self.after['state_total_nodes'])
        self.assertEqual(metrics.performance.update_latency_ms.count, BLOCKS)
        self.assertEqual(metrics.performance.proof_gen_latency_ms.count, ACCOUNTS)
        self.assertGreaterEqual(metrics.persistence.total_persisted_nodes, BLOCKS + ACCOUNTS)
        self.assertIn(metrics.health.health_level, ('Degraded', 'Healthy'))
        for name, latency in [*metrics.performance.ListFields(), *metrics.persistence.ListFields()]:
            if name.message_type is None:
                continue
            found = [latency.p50, latency.p95, latency.p99, latency.p999, latency.max]
            self.assertEqual(found, sorted(found), name.name)

    def test_memory_is_of_the_limit_that_was_set(self):
        with Daemon('--limits.max_memory_bytes', '1GiB') as daemon:
            with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}/metrics', timeout=PATIENCE) as answer:
                samples = self.parse(answer.read().decode())
            percent = samples['process_resident_memory_bytes'] * 100 / (1 << 30)
            # The two are read one after the other.
            self.assertAlmostEqual(samples['state_memory_usage_percent'], percent, delta=percent / 2)

    def test_mptctl(self):
        command = [MPTCTL, '--server', f'127.0.0.1:{self.daemon.port}', 'metrics']
        table = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE, check=True).stdout
        self.assertIn(f'{BLOCKS + ACCOUNTS - 1} accounts', table)
        answer = json.loads(subprocess.run([*command, '-o', 'json'], text=True, capture_output=True, timeout=PATIENCE,
                                           check=True).stdout)
        self.assertEqual(set(answer), {'trie', 'performance', 'cache', 'persistence', 'health'})
        self.assertEqual(answer['trie']['total_accounts'], BLOCKS + ACCOUNTS - 1)
        # Of the last minute: on a slow machine that may be after all of them.
        self.assertIn(answer['performance']['update_latency_ms']['count'], range(BLOCKS + 1))
        self.assertFalse(answer['health']['state_corruption_detected'])


if __name__ == '__main__':
    unittest.main()

"""bench/growth on tiny states, and bench/plots/plot.py on the records that it writes."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(os.environ['MPTD_BIN'], 'mptd-bench')
# A queue that few blocks fill, and few questions.
SMALL = ['--durability', 'async', '--updates', '50', '--blocks', '4', '--warmup', '1', '--', '--queue-bytes', '1MB',
         '--reads', '200', '--proofs', '20', '--root-calls', '2', '--beside-blocks', '2', '--quiet']


def run(script, *words):
    return subprocess.run([sys.executable, '-B', os.path.join(HERE, script), *words], capture_output=True, text=True,
                          check=False)


def growth(folder, *words):
    return run('growth', '--data-dir', os.path.join(folder, 'data'), '--results', os.path.join(folder, 'results'), *words)


def record(folder, name):
    with open(os.path.join(folder, 'results', f'{name}.json'), encoding='utf-8') as file:
        return json.load(file)


class GrowthTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = cls.temporary.name
        cls.done = growth(cls.folder, '--sizes', '2k,500', '--mptd-bench', BENCH, *SMALL)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_prints_a_column_for_each_run(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        head, _, *rows = self.done.stdout.splitlines()
        self.assertEqual(head, '| accounts | 500 | 2k | 2k, caches of 64 MB |')
        for row in rows:
            self.assertEqual(len(row.split(' | ')), 4, row)
        self.assertEqual(os.listdir(os.path.join(self.folder, 'data')), [])

    def test_records_say_what_was_measured(self):
        default, limited = record(self.folder, '2k'), record(self.folder, '2k-64MB')
        self.assertEqual(default['accounts'], 2000)
        self.assertEqual(default['root'], limited['root'])
        self.assertGreater(default['cache_limit_mb'], 900)
        self.assertAlmostEqual(limited['cache_limit_mb'], 64, places=3)
        self.assertGreater(default['kill_blocks'], 0)
        self.assertAlmostEqual(default['memory_account_bytes'] * 2000, (default['peak_mb'] - default['empty_mb']) * 1e6)
        self.assertAlmostEqual(default['disk_account_bytes'] * 2000, default['disk_compacted_mb'] * 1e6)
        self.assertIn('--accounts 2000', default['command'])
        self.assertNotIn('--node-cache-bytes', default['command'])
        self.assertIn('--node-cache-bytes', limited['command'])

    def test_measures_nothing_twice(self):
        again = growth(self.folder, '--sizes', '500,2k', '--mptd-bench', '/nonexistent')
        self.assertEqual((again.returncode, again.stdout), (0, self.done.stdout))

    def test_says_what_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            failed = growth(folder, '--sizes', '500', '--mptd-bench', '/bin/false')
        self.assertEqual(failed.returncode, 1)
        self.assertIn('500 ended with 1', failed.stderr)
        self.assertEqual(failed.stdout, '')

    def test_refuses_a_size_that_is_none(self):
        refused = growth(self.folder, '--sizes', '10k,1G')
        self.assertEqual(refused.returncode, 2)
        self.assertIn('"1G" is no size', refused.stderr)

    def draw(self, out, *names):
        records = [os.path.join(self.folder, 'results', f'{name}.json') for name in names]
        done = run('plots/plot.py', '--against', 'accounts', '--out', os.path.join(self.folder, out), *records)
        self.assertEqual(done.returncode, 0, done.stderr)
        return sorted(os.listdir(os.path.join(self.folder, out)))

    def texts(self, out, name, anchor=None):
        return [text.text for text in xml.etree.ElementTree.parse(os.path.join(self.folder, out, name)).iter()
                if text.tag.endswith('text') and anchor in (None, text.get('text-anchor'))]

    def test_plots(self):
        names = self.draw('plots', '500', '2k', '2k-64MB')
        self.assertEqual(names, ['caches.svg', 'growth.svg', 'per-account.svg', 'restart.svg'])
        for name in names:
            self.assertGreater(len(self.texts('plots', name)), 5, name)
        for size in ('500', '2 k'):  # below the axis; what was measured may be the same
            self.assertEqual(self.texts('plots', 'restart.svg', anchor='middle').count(size), 1)
        self.assertIn('after kill -9 with a full queue', self.texts('plots', 'restart.svg'))
        self.assertTrue(any(text.startswith('caches of 64 MB: p50') for text in self.texts('plots', 'caches.svg')))

    def test_plots_without_a_limited_run(self):
        self.assertEqual(self.draw('default', '500', '2k'), ['growth.svg', 'per-account.svg', 'restart.svg'])


if __name__ == '__main__':
    unittest.main()

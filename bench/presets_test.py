"""bench/presets on a tiny state, and what it says of figures that are better and worse."""
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, 'presets')
BENCH = os.path.join(os.environ['MPTD_BIN'], 'mptd-bench')

loader = importlib.machinery.SourceFileLoader('presets', SCRIPT)
presets = importlib.util.module_from_spec(importlib.util.spec_from_loader('presets', loader))
loader.exec_module(presets)

SAME = {'block_p50_ms': 5, 'block_p99_ms': 9, 'updates_per_s': 1e5, 'peak_mb': 300, 'disk_compacted_mb': 90,
        'history_blocks': 128, 'history_block_kb': 703}
BETTER = {'low_latency, large': {'block_p99_ms': 8}, 'high_throughput, large': {'updates_per_s': 2e5},
          'low_memory': {'peak_mb': 200}, 'archival': {'history_blocks': 500, 'history_block_kb': 400}}


def verdicts(changes):
    figures = {name: SAME | changes.get(name, {}) for name in presets.SMALL_STATE + presets.LARGE_STATE}
    return {name: better for name, (better, _) in presets.verdicts(figures).items()}


class VerdictTest(unittest.TestCase):
    def test_each_is_judged_by_what_it_is_for(self):
        self.assertEqual(verdicts({}), dict.fromkeys(presets.PRESETS, False))
        for name, change in BETTER.items():
            preset = name.partition(',')[0]
            self.assertEqual(verdicts({name: change}), dict.fromkeys(presets.PRESETS, False) | {preset: True})

    def test_an_archive_needs_history_and_less_disk_for_it(self):
        self.assertFalse(verdicts({'archival': {'history_blocks': 500}})['archival'])
        self.assertFalse(verdicts({'archival': {'history_block_kb': 400}})['archival'])

    def test_a_small_state_does_not_judge_what_large_caches_are_for(self):
        self.assertFalse(verdicts({'high_throughput': {'updates_per_s': 2e5}})['high_throughput'])
        self.assertFalse(verdicts({'low_latency': {'block_p99_ms': 8}})['low_latency'])

    def test_figures_are_medians(self):
        out = presets.medians([SAME | {'block_p50_ms': value} for value in (9, 1, 2)])
        self.assertEqual(out['block_p50_ms'], 2)
        self.assertAlmostEqual(out['history_block_kb'], 90_000 / 128)


class RunTest(unittest.TestCase):
    def test_all_presets_are_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, '-B', SCRIPT, '--data-dir', folder, '--mptd-bench', BENCH,
                                   '--accounts', '500', '--large-accounts', '900', '--updates', '20', '--blocks', '140',
                                   '--rounds', '1', '--', '--quiet'],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(os.listdir(folder), [])
        # Who is better at this size is chance, but for the history.
        self.assertIn(done.returncode, (0, 1), done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0], '| | default | low_latency | high_throughput | low_memory | archival | default, all kept |')
        self.assertIn('| | default, large | low_latency, large | high_throughput, large |', lines)
        history = next(line for line in lines if line.startswith('| blocks of history '))
        self.assertEqual(history, '| blocks of history | 128 | 128 | 128 | 32 | 140 | 140 |')
        for name in presets.PRESETS:
            self.assertEqual(sum(line.startswith(f'{name} is ') for line in lines), 1, done.stdout)
        self.assertEqual(done.returncode, 1 if 'NOT BETTER' in done.stdout else 0)

    def test_says_what_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, '-B', SCRIPT, '--data-dir', folder, '--mptd-bench', '/bin/false'],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('default ended with 1', done.stderr)
        self.assertEqual(done.stdout, '')


if __name__ == '__main__':
    unittest.main()

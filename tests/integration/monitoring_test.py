"""deploy/monitoring against a daemon under load: a real Prometheus scrapes it and evaluates the alerts, every query of the
dashboard and the runbooks is asked, and two alerts are made to fire."""
import glob
import json
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import grpc
import yaml

from client import PATIENCE, SOURCE, admin_pb, block_request, eventually, free_port, pb, word
from pki import Authority, TlsDaemon

MONITORING = os.path.join(SOURCE, 'deploy/monitoring')
RUNBOOKS = 'https://runbooks.test'
SCRAPES = 12
WINDOW = f'{SCRAPES}s'
# Of this machine's disk, memory and speed, not of the rules: these may be on their way on a healthy daemon.
OF_THE_MACHINE = {'CacheHitRateLow', 'DiskFillsUp', 'DiskSpaceLow', 'FlushSlow', 'LogSyncSlow', 'MemoryUsageHigh',
                  'MptdScrapeSlow', 'ProofLatencyHigh', 'StateHealthDegraded', 'StateLookupLatencyHigh', 'StateUpdateLatencyHigh'}


def address(i):
    return i.to_bytes(20, 'big')


class Prometheus:
    """Scrapes a daemon every second, with the alerts of deploy/monitoring; MptdDown does not wait as long."""

    def __init__(self, daemon):
        self.scratch = tempfile.mkdtemp(prefix='mptd-prometheus-')
        self.port = free_port()
        with open(os.path.join(MONITORING, 'alerts.yml'), encoding='utf-8') as file:
            alerts = yaml.safe_load(file)
        for group in alerts['groups']:
            for rule in group['rules']:
                if rule['alert'] == 'MptdDown':
                    rule['for'] = '1s'
        with open(os.path.join(MONITORING, 'prometheus.yml'), encoding='utf-8') as file:
            config = yaml.safe_load(file)
        config['global'].update(scrape_interval='1s', evaluation_interval='1s', external_labels={'runbooks': RUNBOOKS})
        config['scrape_configs'][0]['static_configs'][0]['targets'] = [f'127.0.0.1:{daemon.http_port}']
        self.write('alerts.yml', alerts)
        self.write('prometheus.yml', config)
        self.log_path = os.path.join(self.scratch, 'log')
        with open(self.log_path, 'wb') as log:
            self.process = subprocess.Popen(
                ['prometheus', '--config.file=' + os.path.join(self.scratch, 'prometheus.yml'),
                 '--storage.tsdb.path=' + os.path.join(self.scratch, 'data'), f'--web.listen-address=127.0.0.1:{self.port}'],
                stdout=log, stderr=log)

    def write(self, name, content):
        with open(os.path.join(self.scratch, name), 'w', encoding='utf-8') as file:
            yaml.safe_dump(content, file)

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.scratch)

    def get(self, path, **parameters):
        url = f'http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}'
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)['data']
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it listens before it can answer
                raise
            raise AssertionError(f'{path} {parameters}: {error.read().decode()}') from None

    def values(self, query):
        """The numbers that an instant query gives."""
        numbers = [float(sample['value'][1]) for sample in self.get('query', query=query)['result']]
        return [number for number in numbers if not math.isnan(number)]

    def rules(self):
        return [rule for group in self.get('rules')['groups'] for rule in group['rules']]

    def firing(self):
        return {alert['labels']['alertname']: alert for alert in self.get('alerts')['alerts'] if alert['state'] == 'firing'}

    def wait(self, what, condition):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except OSError:  # it does not listen yet
                if self.process.poll() is not None:
                    raise AssertionError(self.log()) from None
            if time.monotonic() > end:
                raise AssertionError(f'{what} did not happen within {PATIENCE} s:\n{self.log()}')
            time.sleep(0.2)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()[-8000:]


class Load(threading.Thread):
    """Blocks, dry runs, reads and proofs until it is stopped, and a call and a block that are refused."""

    def __init__(self, daemon):
        super().__init__()
        self.daemon = daemon
        self.stopped = threading.Event()
        self.number = 0
        self.failure = None

    def run(self):
        try:
            self.once()
            self.be_refused()
            while not self.stopped.wait(0.05):
                self.once()
        except Exception as error:  # the test's own thread looks at it
            self.failure = error

    def be_refused(self):
        for call in (lambda: self.daemon.account(b'short'), lambda: self.block(self.number + 7)):
            try:
                call()
            except grpc.RpcError:
                continue
            raise AssertionError('was not refused')

    def block(self, number, **options):
        changes = [pb.AccountChange(address=address(number + i), nonce=number,
                                    slots=[pb.SlotChange(key=word(number), value=b'\1')]) for i in range(50)]
        return self.daemon.state.ApplyStateChanges(block_request(
            number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big') if number > 1 else None, changes, **options))

    def once(self):
        self.number += 1
        self.block(self.number)
        state = self.daemon.state
        state.ComputeStateRoot(pb.ComputeStateRootRequest(changes=[pb.AccountChange(address=address(1), nonce=1)]))
        for i in range(10):
            self.daemon.account(address(self.number + i))
            self.daemon.account((10**9 + 100 * self.number + i).to_bytes(20, 'big'))  # in no cache
            self.daemon.proof(address(self.number + i), [word(1)])
        state.GetStorage(pb.GetStorageRequest(address=address(self.number), slots=[word(1), word(self.number)]))
        if self.number % 10 == 0:
            self.daemon.admin.Flush(admin_pb.FlushRequest())

    def stop(self):
        self.stopped.set()
        self.join(PATIENCE)
        if self.failure is not None:
            raise self.failure


def metrics_in(expression):
    return set(re.findall(r'\b(?:state|mptd|process|scrape)_\w+|\bup\b', expression))


def panels():
    """(title, expression) of the dashboard, with its variables as Grafana would fill them in."""
    with open(os.path.join(MONITORING, 'dashboard.json'), encoding='utf-8') as file:
        for panel in json.load(file)['panels']:
            for target in panel.get('targets', ()):
                expression = target['expr'].replace('$instance', '.*').replace('$__rate_interval', WINDOW)
                yield f'{panel["title"]} {target["refId"]}', expression


def runbook_queries():
    for path in sorted(glob.glob(os.path.join(SOURCE, 'docs/runbooks/*.md'))):
        with open(path, encoding='utf-8') as file:
            for block in re.findall('^```promql\n(.*?)^```', file.read(), re.MULTILINE | re.DOTALL):
                for line in block.splitlines():
                    yield os.path.basename(path), line


class MonitoringTest(unittest.TestCase):
    """What a Prometheus knew of one daemon while it was well; after that the daemon is led astray."""

    @classmethod
    def setUpClass(cls):
        cls.backups = tempfile.mkdtemp(prefix='mptd-backups-')
        cls.addClassCleanup(shutil.rmtree, cls.backups, ignore_errors=True)
        authority = Authority(cls.backups, 'authority')
        pair = authority.issue('mptd', use='serverAuth, clientAuth')
        cls.daemon = TlsDaemon('--backup.dir', os.path.join(cls.backups, 'made'), '--security.audit_file',
                               os.path.join(cls.backups, 'audit'), '--security.tls_cert_file', pair.cert,
                               '--security.tls_key_file', pair.key, '--security.tls_client_ca_file', authority.cert,
                               '--security.tls_crl_file', authority.crl(os.path.join(cls.backups, 'crl')),
                               trust=authority.cert, pair=pair).start()
        cls.addClassCleanup(cls.daemon.close)
        cls.load = Load(cls.daemon)
        cls.load.start()
        try:
            cls.prometheus = Prometheus(cls.daemon)
            cls.addClassCleanup(cls.prometheus.close)
            cls.prometheus.wait(f'{SCRAPES} scrapes', lambda: cls.prometheus.values('count_over_time(up[10m])') >= [SCRAPES])
            # On a busy machine a scrape may just have taken longer than there is time for it.
            eventually(cls.look_at_rules)
            cls.names = set(cls.prometheus.get('label/__name__/values'))
            # On a busy machine no block may have come within the window just now.
            eventually(cls.look_at_panels)
            for _, query in runbook_queries():
                cls.prometheus.values(query)
        finally:
            cls.load.stop()

    @classmethod
    def look_at_rules(cls):
        cls.rules = cls.prometheus.rules()
        return all(rule['health'] == 'ok' and (rule['state'] == 'inactive' or
                                               rule['state'] == 'pending' and rule['name'] in OF_THE_MACHINE)
                   for rule in cls.rules)

    @classmethod
    def look_at_panels(cls):
        cls.panels = [(title, query, cls.prometheus.values(query)) for title, query in panels()]
        return all(values for _, _, values in cls.panels)

    def test_every_metric_that_is_named_exists(self):
        sources = [(f'alert {rule["name"]}', rule['query']) for rule in self.rules]
        sources += [(f'panel {title}', query) for title, query, _ in self.panels] + list(runbook_queries())
        self.assertGreater(len(sources), 150)
        missing = {(source, name) for source, query in sources for name in metrics_in(query) - self.names}
        self.assertEqual(missing, set())

    def test_every_panel_has_data(self):
        self.assertEqual([title for title, _, values in self.panels if not values], [])

    def test_all_rules_are_evaluated(self):
        with open(os.path.join(MONITORING, 'alerts.yml'), encoding='utf-8') as file:
            self.assertEqual(len(self.rules), file.read().count('- alert: '))
        self.assertEqual([(rule['name'], rule.get('lastError')) for rule in self.rules if rule['health'] != 'ok'], [])

    def test_a_daemon_that_is_well_alerts_nobody(self):
        self.assertEqual([rule['name'] for rule in self.rules if rule['state'] == 'firing'], [])
        pending = {rule['name'] for rule in self.rules if rule['state'] == 'pending'}
        self.assertLessEqual(pending, OF_THE_MACHINE)

    def test_alerts_fire(self):
        self.prometheus.wait('that nobody is alerted', lambda: self.prometheus.firing() == {})
        with self.assertRaises(grpc.RpcError):
            self.load.block(self.load.number + 1, expected_root=b'\1' * 32)
        self.prometheus.wait('StateRootMismatch', lambda: set(self.prometheus.firing()) == {'StateRootMismatch'})
        self.assertTrue(self.daemon.logs('state_root_mismatch'))
        self.daemon.stop(signal.SIGKILL)
        self.prometheus.wait('MptdDown', lambda: 'MptdDown' in self.prometheus.firing())
        alert = self.prometheus.firing()['MptdDown']
        self.assertEqual(alert['labels']['severity'], 'critical')
        self.assertEqual(alert['annotations']['runbook_url'], f'{RUNBOOKS}/MptdDown.md')
        self.assertIn(f'127.0.0.1:{self.daemon.http_port}', alert['annotations']['summary'])


if __name__ == '__main__':
    unittest.main()

"""`mptd check` before a daemon starts, and `mptctl doctor` on one that runs."""
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import grpc

from client import MPTCTL, MPTD, PATIENCE, PATIENT, Daemon, admin_pb, environment, free_port, pb, start_process

NOBODY = 65534
TRIALS = ['trie_implementation', 'state_root', 'merkle_proofs', 'cache', 'persistence', 'performance', 'stress_test',
          'dependencies', 'observability', 'error_recovery']
MACHINE = ['disk_speed', 'space', 'memory', 'file_limits', 'ports', 'clock', 'cpu', 'kernel', 'permissions', 'secrets',
           'tls', 'data', 'version']
CHECKS = ['configuration', *TRIALS, 'documentation', *MACHINE]


def run(words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, env=environment(), **options)


def findings(done):
    """The checks of an answer in JSON by their names, and whether the exit code is that of the worst."""
    answer = json.loads(done.stdout)
    return answer['result'], {check['name']: check for check in answer['checks']}


def apply_some(daemon, last):
    for number in range(1, last + 1):
        change = pb.AccountChange(address=number.to_bytes(20, 'big'), nonce=number)
        daemon.apply(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big'), [change])


def files(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, 'rb') as file:
                found[path] = file.read()
    return found


class CheckTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.data = os.path.join(self.scratch, 'data')

    def check(self, *flags, data=None, program=MPTD, quick=True, **options):
        """What the checks found; the exit code must be that of the worst."""
        done = run([program, 'check', '-o', 'json', '--data-dir', data or self.data, '--listen', '127.0.0.1:0',
                    '--http-listen', 'off', *(['--quick'] if quick else []), *flags], **options)
        self.assertEqual(done.stderr, '')
        result, checks = findings(done)
        self.assertEqual(done.returncode, {'ok': 0, 'warning': 1, 'failed': 2}[result], done.stdout)
        return checks

    def fails(self, name, *flags, words=(), **options):
        check = self.check(*flags, **options)[name]
        self.assertEqual(check['result'], 'failed', check)
        for word in words:
            self.assertIn(word, check['measured'])
        self.assertTrue(check['advice'])

    def test_a_machine_without_data(self):
        checks = self.check(quick=False)
        self.assertEqual(list(checks), CHECKS)
        for name in TRIALS:
            # How fast it is here, is not for a test to say.
            if name not in ('performance', 'dependencies'):
                self.assertEqual(checks[name]['result'], 'ok', checks[name])
        for check in checks.values():
            self.assertTrue(check['measured'], check)
            self.assertTrue(check['expected'] or check['result'] == 'skipped', check)
        for name in ('configuration', 'memory', 'ports', 'permissions', 'data', 'version'):
            self.assertIn(checks[name]['result'], ('ok', 'warning'), checks[name])
        for name in ('secrets', 'tls'):
            self.assertEqual(checks[name]['result'], 'skipped')
        self.assertIn('p99', checks['disk_speed']['measured'])
        self.assertEqual(os.listdir(self.scratch), [])

    def test_a_terminal_is_told_what_is_at_work(self):
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        with subprocess.Popen([MPTD, 'check', '-o', 'json', '--data-dir', self.data, '--listen', '127.0.0.1:0', '--http-listen',
                               'off'], stdout=subprocess.PIPE, stderr=theirs, env=environment()) as process:
            os.close(theirs)
            answer, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual([check['name'] for check in json.loads(answer)['checks']], CHECKS)
        told = b''
        try:
            while piece := os.read(ours, 4096):
                told += piece
        except OSError:  # nobody has the other end any more
            pass
        for number, name in enumerate(TRIALS, 2):
            self.assertIn(f'[{number}/12] {name} ...', told.decode())
        self.assertTrue(told.endswith(b'\r\x1b[K'), told)

    def test_the_table_and_the_help(self):
        done = run([MPTD, 'check', '--data-dir', self.data, '--listen', '127.0.0.1:0', '--http-listen=off', '--quick'])
        self.assertIn(done.returncode, (0, 1), done.stdout)
        for name in CHECKS:
            self.assertRegex(done.stdout, rf'(?m)^{name} ')
        self.assertIn(f', 0 failed, {len(TRIALS) + 2} skipped\n', done.stdout)
        self.assertEqual(run([MPTD, 'check', '--help']).returncode, 0)
        self.assertEqual(run([MPTD, 'check', '-o', 'xml']).returncode, 2)
        self.assertEqual(run([MPTD, 'check', '--quick', '--thorough']).returncode, 2)
        self.assertIn('mptd check', run([MPTD, '--help']).stdout)

    def test_settings_come_from_every_source(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            address = f'127.0.0.1:{taken.getsockname()[1]}'
            path = os.path.join(self.scratch, 'mptd.yaml')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(f'server:\n  listen: ["{address}"]\n  data_dir: {self.data}\n  http_listen: "off"\n')
            done = run([MPTD, 'check', '--quick', '--config', path, '-o', 'json'])
            self.assertIn(address, findings(done)[1]['ports']['measured'])
            self.assertEqual(done.returncode, 2)
            self.fails('ports', '--listen', address, words=[address, 'in use'])
            self.fails('ports', '--server.admin_listen', address, words=[address, 'in use'])

    def test_a_wrong_configuration(self):
        self.fails('configuration', '--persistence.mode', 'sometimes', words=['persistence.mode', 'sometimes'])
        self.fails('configuration', '--genesis', os.path.join(self.scratch, 'absent.json'), words=['absent.json'])

    def test_secrets_and_places_that_the_daemon_could_not_use(self):
        absent = os.path.join(self.scratch, 'absent')
        key = os.path.join(self.scratch, 'key')
        with open(key, 'w', encoding='ascii') as file:
            file.write('a1' * 32)
        os.chmod(key, 0o644)
        self.fails('secrets', '--security.encryption_key_file', absent, words=[absent])
        self.fails('secrets', '--security.jwt_secret_file', absent, '--security.roles', 'secret -> writer', words=[absent])
        self.fails('secrets', '--security.roles', 'secret -> writer', words=['jwt_secret_file'])
        self.fails('secrets', '--security.encryption_key_file', key, words=[key])
        os.chmod(key, 0o400)
        self.assertEqual(self.check('--security.encryption_key_file', key)['secrets']['result'], 'ok')
        for setting in ('logging.file', 'security.audit_file', 'backup.dir'):
            self.fails('permissions', f'--{setting}', os.path.join(absent, 'below'), words=[absent])
        self.assertEqual(os.listdir(self.scratch), ['key'])

    def test_data_of_a_stopped_daemon_is_not_changed(self):
        with Daemon('--genesis', 'sepolia') as daemon:
            daemon.stop()
            before = files(daemon.data)
            check = self.check('--genesis', 'sepolia', data=daemon.data)['data']
            self.assertEqual(check['result'], 'ok', check)
            self.assertIn('tables up to block 0', check['measured'])
            self.fails('data', '--genesis', 'holesky', data=daemon.data, words=['genesis root'])
            self.assertEqual(files(daemon.data), before)
            daemon.start()
            self.assertEqual(daemon.head().number, 0)

    def test_data_after_a_crash_is_whole(self):
        with Daemon('--persistence.mode', 'sync') as daemon:
            apply_some(daemon, 20)
            daemon.stop(signal.SIGKILL)
            check = self.check(data=daemon.data)['data']
            self.assertEqual(check['result'], 'ok', check)
            self.assertIn('20 records', check['measured'])
            daemon.start()
            self.assertEqual(daemon.head().number, 20)

    def test_a_daemon_that_runs(self):
        with Daemon() as daemon:
            self.fails('data', data=daemon.data, words=[str(daemon.process.pid)])
            self.fails('ports', '--listen', f'127.0.0.1:{daemon.port}', data=daemon.data, words=['in use'])
            apply_some(daemon, 1)

    def test_a_damaged_format(self):
        with Daemon() as daemon:
            daemon.stop()
            path = os.path.join(daemon.data, 'FORMAT')
            with open(path, 'r+', encoding='utf-8') as file:
                good = file.read()
                file.seek(0)
                file.write('#')
            self.fails('data', data=daemon.data, words=['FORMAT', 'damaged'])
            with open(path, 'w', encoding='utf-8') as file:
                file.write('mptd data format 999\n')
            self.fails('version', data=daemon.data, words=['newer'])
            with open(path, 'w', encoding='utf-8') as file:
                file.write(good)
            self.assertEqual(self.check(data=daemon.data)['data']['result'], 'ok')

    def test_a_folder_that_cannot_be_written(self):
        os.chmod(self.scratch, 0o755)
        os.mkdir(self.data)
        os.chmod(self.data, 0o555)
        options = {}
        if os.geteuid() == 0:
            # Nothing is read-only for root, so the check runs as nobody, from a place that nobody may read.
            options['program'] = os.path.join(self.scratch, 'mptd')
            shutil.copy(MPTD, options['program'])
            os.chmod(options['program'], 0o755)
            options.update(user=NOBODY, group=NOBODY, extra_groups=[], cwd='/')
        self.fails('permissions', words=[self.data, 'not writable'], **options)
        self.assertEqual(self.check(**options)['disk_speed']['result'], 'skipped')

    def test_an_interrupted_check_leaves_nothing(self):
        os.mkdir(self.data)
        for sig in (signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen([MPTD, 'check', '--quick', '--data-dir', self.data], env=environment(),
                                       stdout=subprocess.PIPE)
            opened = f'/proc/{process.pid}/fd'
            while process.poll() is None:
                try:
                    links = [os.readlink(os.path.join(opened, fd)) for fd in os.listdir(opened)]
                    # Where files cannot be made without a name, it has one for a moment.
                    if any(link.startswith(self.data) and link.endswith(' (deleted)') for link in links):
                        process.send_signal(sig)
                        break
                except OSError:
                    pass  # a file that was closed, or the process has ended
            process.communicate(timeout=PATIENCE)
            self.assertEqual(os.listdir(self.data), [])


class DoctorTest(unittest.TestCase):
    def doctor(self, daemon, *flags):
        return run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', 'doctor', '-o', 'json', *flags])

    def test_a_healthy_daemon(self):
        with Daemon(*PATIENT) as daemon:
            apply_some(daemon, 5)
            done = self.doctor(daemon)
            result, checks = findings(done)
            # How full the disk of the tests is, and how fast, is not the daemon's doing.
            possible = {
                'disk': ('ok', 'warning', 'failed'),
                'health_level': ('ok', 'warning'),
                'encryption_key': ('skipped',),
            }
            for name, check in checks.items():
                self.assertIn(check['result'], possible.get(name, ('ok',)), check)
            self.assertEqual(done.returncode, {'ok': 0, 'warning': 1, 'failed': 2}[result])
            table = run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', 'doctor'])
            self.assertRegex(table.stdout, r'(?m)^queue +ok ')

    def test_metrics_from_another_address(self):
        with Daemon() as daemon:
            done = self.doctor(daemon, '--metrics-url', f'http://127.0.0.1:{free_port()}/metrics')
            _, checks = findings(done)
            self.assertEqual(checks['metrics']['result'], 'warning')
            self.assertEqual(checks['health_level']['result'], 'skipped')
            self.assertEqual(done.returncode, 1, done.stdout)
            url = f'http://127.0.0.1:{daemon.http_port}/metrics'
            self.assertEqual(findings(self.doctor(daemon, '--metrics-url', url))[1]['metrics']['result'], 'ok')
            self.assertEqual(self.doctor(daemon, '--metrics-url', 'ftp://x/').returncode, 2)

    def test_a_daemon_that_is_gone(self):
        with Daemon() as daemon:
            daemon.stop()
            done = self.doctor(daemon)
            result, checks = findings(done)
            self.assertEqual((result, done.returncode), ('failed', 3))
            self.assertEqual(checks['daemon']['result'], 'failed')
            self.assertIn('mptd check', checks['daemon']['advice'])

    def test_a_daemon_that_became_read_only(self):
        with Daemon() as daemon:
            apply_some(daemon, 1)
            daemon.stop()
            # Python ignores SIGXFSZ and leaves it so: a write beyond the limit is an error, not the end.
            daemon.process = start_process(daemon.data, daemon.port, daemon.http_port, [], daemon.log_path,
                                           restore_signals=False)
            daemon.connect(f'127.0.0.1:{daemon.port}')
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
            with self.assertRaises(grpc.RpcError):
                apply_some(daemon, 100)
            done = self.doctor(daemon)
            result, checks = findings(done)
            self.assertEqual((result, done.returncode), ('failed', 2), done.stdout)
            self.assertEqual(checks['read_only']['result'], 'failed')
            self.assertIn('restart', checks['read_only']['advice'])
            self.assertEqual(checks['health_level']['result'], 'failed')
            daemon.stop(signal.SIGKILL)

    def test_history_that_was_pruned_by_hand(self):
        with Daemon('--genesis', 'sepolia') as daemon:
            head = daemon.head()
            parent = head.hash
            for number in range(1, 11):
                change = pb.AccountChange(address=number.to_bytes(20, 'big'), nonce=number)
                parent = daemon.apply(number, number.to_bytes(32, 'big'), parent, [change]).block.hash
            self.assertEqual(findings(self.doctor(daemon))[1]['window']['result'], 'ok')
            daemon.admin.Flush(admin_pb.FlushRequest())
            daemon.admin.Prune(admin_pb.PruneRequest(keep_blocks=2))
            window = findings(self.doctor(daemon))[1]['window']
            self.assertEqual(window['result'], 'warning', window)
            self.assertIn('pruned', window['advice'])


if __name__ == '__main__':
    unittest.main()

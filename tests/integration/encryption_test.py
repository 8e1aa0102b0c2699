"""Encrypted data folders: nothing readable in any file, kills, rotation under load, wrong keys, checkpoints."""
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import unittest

import grpc

from client import MPTCTL, MPTD, PATIENCE, ZERO_HASH, Daemon, admin_pb, environment, eventually, pb

MARKER = b'contract code that must not be found on the disk'


def h(i):
    return ZERO_HASH if i == 0 else i.to_bytes(32, 'big')


def apply_block(daemon, number):
    """Code with the marker, and enough accounts that every table has something."""
    changes = [pb.AccountChange(address=i.to_bytes(20, 'big'), nonce=number, balance=bytes([number % 255 + 1]))
               for i in range(1, 51)]
    changes[0].code = MARKER + b' %d' % number
    changes[1].slots.add(key=h(1), value=b'\x07' + number.to_bytes(4, 'big'))
    return daemon.apply(number, h(number), h(number - 1), changes).block


def files_with(folder, marker):
    """Also of a daemon that runs, which may remove a file before it is looked into."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError), open(path, 'rb') as file:
                if marker in file.read():
                    found.append(os.path.relpath(path, folder))
    return found


class EncryptionTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch)
        self.key = self.make_key('master.key', os.urandom(32))
        self.data = os.path.join(self.scratch, 'data')

    def make_key(self, name, key):
        path = os.path.join(self.scratch, name)
        with open(path + '.new', 'wb') as file:
            file.write(key)
        os.chmod(path + '.new', stat.S_IRUSR | stat.S_IWUSR)
        os.rename(path + '.new', path)
        return path

    def daemon(self, key=None, *flags):
        key_flags = ('--security.encryption_key_file', key) if key else ()
        return Daemon('--persistence.mode', 'sync', *key_flags, *flags, data=self.data)

    def refused(self, *flags):
        """What the daemon says when it does not start on the data."""
        done = subprocess.run([MPTD, '--data-dir', self.data, '--listen', '127.0.0.1:0', '--http-listen', 'off', *flags],
                              capture_output=True, text=True, timeout=PATIENCE, env=environment())
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def keys_of(self, daemon, **request):
        return daemon.admin.RotateKeys(admin_pb.RotateKeysRequest(**request), timeout=PATIENCE)

    def test_no_file_shows_what_it_holds(self):
        for key in (None, self.key):
            shutil.rmtree(self.data, ignore_errors=True)
            with self.daemon(key) as daemon:
                for number in range(1, 6):
                    root = apply_block(daemon, number).state_root
                log = files_with(self.data, MARKER)  # of the change log alone, nothing is flushed yet
                daemon.admin.Flush(admin_pb.FlushRequest())
                apply_block(daemon, 6)
                daemon.stop()
                found = files_with(self.data, MARKER)
                if key:
                    self.assertEqual(log + found, [])
                    daemon.start()
                    self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest(
                        block=pb.BlockRef(number=5))).block.state_root, root)
                    self.assertEqual(daemon.state.GetCode(pb.GetCodeRequest(address=(1).to_bytes(20, 'big'))).code,
                                     MARKER + b' 6')
                    status = daemon.admin.GetStatus(admin_pb.GetStatusRequest())
                    self.assertEqual(status.format_version, 2)
                else:
                    self.assertTrue(any(path.startswith('log/') for path in log), log)
                    self.assertTrue(any(path.startswith('db/') for path in found), found)

    def test_kills_lose_nothing(self):
        with self.daemon(self.key) as daemon:
            number = 0
            for _ in range(4):
                for _ in range(5):
                    number += 1
                    root = apply_block(daemon, number).state_root
                    if number % 7 == 0:
                        daemon.admin.Flush(admin_pb.FlushRequest())
                daemon.restart(signal.SIGKILL)
                head = daemon.state.GetStateRoot(pb.GetStateRootRequest()).block
                self.assertEqual((head.number, head.state_root), (number, root))
                self.assertEqual(files_with(self.data, MARKER), [])

    def test_rotation_while_blocks_are_applied(self):
        old = self.key
        new_key = os.urandom(32)
        with self.daemon(self.key) as daemon:
            first = self.keys_of(daemon)
            self.assertEqual(list(first.data_keys), [1])
            stop = threading.Event()
            applied = [0]
            failures = []

            def apply_until_stopped():
                try:
                    while not stop.is_set():
                        apply_block(daemon, applied[0] + 1)
                        applied[0] += 1
                except grpc.RpcError as error:
                    failures.append(error)

            worker = threading.Thread(target=apply_until_stopped)
            worker.start()
            try:
                for _ in range(3):
                    self.assertEqual(self.keys_of(daemon, new_data_key=True, rewrite_tables=True).master_key,
                                     first.master_key)
                shutil.copy2(self.key, old + '.old')
                self.make_key('master.key', new_key)
                second = self.keys_of(daemon)
            finally:
                stop.set()
                worker.join()
            self.assertEqual(failures, [])
            self.assertGreater(applied[0], 0)
            self.assertNotEqual(second.master_key, first.master_key)
            self.assertEqual((second.data_key, list(second.data_keys)), (4, [1, 2, 3, 4]))

            daemon.stop()
            said = self.refused('--security.encryption_key_file', old + '.old')
            self.assertIn(first.master_key, said)
            self.assertIn(second.master_key, said)
            daemon.start()  # old keys go when the folder is opened and nothing needs them
            self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest()).block.number, applied[0])
            self.keys_of(daemon, rewrite_tables=True)
            daemon.restart()
            self.assertEqual(list(self.keys_of(daemon).data_keys), [4])
            self.assertTrue([last for last in daemon.admin.Verify(admin_pb.VerifyRequest(), timeout=PATIENCE)][-1].ok)

    def test_mptctl_rotates(self):
        with self.daemon(self.key) as daemon:
            done = subprocess.run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', 'rotate-key', '--data-key'],
                                  capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn('wraps 2 data keys; new files are encrypted with number 2', done.stdout)
            os.unlink(self.key)
            with self.assertRaises(grpc.RpcError) as caught:
                self.keys_of(daemon)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            apply_block(daemon, 1)
        self.data += '-plain'
        with self.daemon() as daemon:
            with self.assertRaises(grpc.RpcError) as caught:
                self.keys_of(daemon)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)

    def test_a_key_file_that_no_longer_fits_is_noticed_before_the_next_start(self):
        def doctor(daemon):
            done = subprocess.run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', 'doctor', '-o', 'json'],
                                  capture_output=True, text=True, timeout=PATIENCE)
            return {one['name']: one for one in json.loads(done.stdout)['checks']}['encryption_key']

        with self.daemon(self.key, '--health.check_interval', '100ms') as daemon:
            self.assertEqual(doctor(daemon)['result'], 'ok')
            right = self.key + '.right'
            os.rename(self.key, right)
            self.assertTrue(eventually(lambda: doctor(daemon)['result'] == 'warning'), daemon.log())
            self.make_key('master.key', os.urandom(32))
            self.assertTrue(eventually(lambda: 'is wrapped by master key' in doctor(daemon)['measured']), daemon.log())
            self.assertIn('mptctl rotate-key', doctor(daemon)['advice'])
            apply_block(daemon, 1)  # it goes on meanwhile
            os.replace(right, self.key)
            self.assertTrue(eventually(lambda: doctor(daemon)['result'] == 'ok'), daemon.log())
            self.make_key('master.key', os.urandom(32))
            self.assertTrue(eventually(lambda: doctor(daemon)['result'] == 'warning'), daemon.log())
            self.keys_of(daemon)
            self.assertTrue(eventually(lambda: doctor(daemon)['result'] == 'ok'), daemon.log())
            daemon.restart()
            self.assertEqual(doctor(daemon)['result'], 'ok')

    def test_what_does_not_fit_is_refused_and_touches_nothing(self):
        with self.daemon(self.key) as daemon:
            apply_block(daemon, 1)
        other = self.make_key('other.key', os.urandom(32))
        with open(self.key, 'rb') as file:
            hex_key = file.read().hex()
        before = {path: os.stat(os.path.join(self.data, path)).st_mtime_ns for path in ('KEYS', 'FORMAT', 'db/CURRENT')}
        self.assertIn('the key that is configured is', self.refused('--security.encryption_key_file', other))
        self.assertIn('is encrypted, and no key is configured', self.refused())
        self.assertIn('exit status 3', self.refused('--security.encryption_key_command', 'exit 3'))
        for path, changed in before.items():
            self.assertEqual(os.stat(os.path.join(self.data, path)).st_mtime_ns, changed, path)
        checked = subprocess.run([MPTD, 'check', '--quick', '--data-dir', self.data, '-o', 'json',
                                  '--security.encryption_key_file', other], capture_output=True, text=True,
                                 timeout=PATIENCE, env=environment())
        self.assertIn('the key that is configured is', checked.stdout)
        checked = subprocess.run([MPTD, 'check', '--quick', '--data-dir', self.data, '-o', 'json',
                                  '--security.encryption_key_file', self.key], capture_output=True, text=True,
                                 timeout=PATIENCE, env=environment())
        self.assertIn('block 1', checked.stdout)
        os.environ['TEST_OF_MASTER_KEY'] = hex_key
        self.addCleanup(os.environ.pop, 'TEST_OF_MASTER_KEY')
        for flags in (('--security.encryption_key_env', 'TEST_OF_MASTER_KEY'),
                      ('--security.encryption_key_command', f'cat {self.key}')):
            with self.daemon(None, *flags) as daemon:
                self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest()).block.number, 1)
                config = str(daemon.admin.GetConfig(admin_pb.GetConfigRequest()))
                self.assertNotIn(hex_key, config + daemon.log())
        self.data += '-plain'
        with self.daemon() as daemon:
            apply_block(daemon, 1)
        self.assertIn('is not encrypted, and a key is configured', self.refused('--security.encryption_key_file', self.key))
        with self.daemon() as daemon:
            self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest()).block.number, 1)

    def check_offline(self, *flags):
        return subprocess.run([MPTCTL, '-o', 'json', 'check', self.data, *flags], capture_output=True, text=True,
                              timeout=PATIENCE, env=environment())

    def test_the_offline_check_takes_the_key(self):
        with self.daemon(self.key) as daemon:
            for number in (1, 2, 3):
                apply_block(daemon, number)
        key = ('--encryption-key-file', self.key)
        done = self.check_offline()
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn('no key is configured', done.stderr)
        done = self.check_offline(*key)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report['ok'], report['block']), (True, 3))
        self.assertGreater(report['table_files'], 0)

        table = next(path for path in sorted(os.listdir(os.path.join(self.data, 'db'))) if path.endswith('.sst'))
        with open(os.path.join(self.data, 'db', table), 'r+b') as file:
            file.seek(-30, os.SEEK_END)
            byte = file.read(1)
            file.seek(-30, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))
        done = self.check_offline(*key)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(table, json.loads(done.stdout)['damage'][0]['file'])
        os.unlink(os.path.join(self.data, 'KEYS'))
        done = self.check_offline(*key)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual([damage['file'] for damage in json.loads(done.stdout)['damage']],
                         [os.path.join(self.data, 'KEYS')])

    def restore(self, checkpoint, *flags):
        return subprocess.run([MPTCTL, 'checkpoint', 'restore', checkpoint, self.data, *flags], capture_output=True,
                              text=True, timeout=PATIENCE)

    def test_checkpoints_of_encrypted_data(self):
        checkpoint = os.path.join(self.scratch, 'checkpoint')
        with self.daemon(self.key) as daemon:
            root = [apply_block(daemon, number) for number in (1, 2)][-1].state_root
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=checkpoint, verify=True), timeout=PATIENCE)
        self.assertEqual(files_with(checkpoint, MARKER), [])
        self.data += '-restored'
        done = self.restore(checkpoint)
        self.assertEqual(done.returncode, 2)
        self.assertIn('no key is configured', done.stderr)
        self.assertFalse(os.path.exists(self.data))
        done = self.restore(checkpoint, '--full', '--encryption-key-file', self.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        with self.daemon(self.key) as daemon:
            self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest()).block.state_root, root)

    def test_plain_data_becomes_encrypted_by_a_checkpoint(self):
        checkpoint = os.path.join(self.scratch, 'checkpoint')
        with self.daemon() as daemon:
            root = [apply_block(daemon, number) for number in (1, 2)][-1].state_root
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=checkpoint), timeout=PATIENCE)
        self.assertTrue(files_with(checkpoint, MARKER))
        self.data += '-encrypted'
        done = self.restore(checkpoint, '--encryption-key-file', self.key)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(files_with(self.data, MARKER), [])
        verified = subprocess.run([MPTCTL, 'checkpoint', 'verify', checkpoint], capture_output=True, timeout=PATIENCE)
        self.assertEqual(verified.returncode, 0, 'the checkpoint is as it was')
        with self.daemon(self.key) as daemon:
            self.assertEqual(daemon.state.GetStateRoot(pb.GetStateRootRequest()).block.state_root, root)
            apply_block(daemon, 3)


if __name__ == '__main__':
    unittest.main()

"""Disks that fail under the real daemon: a sync that fails, a disk that fills up, and flipped bits in every kind of file."""
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock
import urllib.error
import urllib.request

import grpc

from client import (MPTCTL, PATIENCE, SHORT, ZERO_HASH, Daemon, admin_pb, environment, eventually, pb, quantity,
                    with_sanitizer, word)

FAIL_SYNC = os.path.join(os.environ.get('MPTD_BUILD', ''), 'tests/libmptd_fail_sync.so')
ACCOUNTS = 300
FOOTER = 53  # bytes, of a table file


def get(daemon, path):
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}{path}', timeout=PATIENCE) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def change_of(number, i):
    """What block `number` makes of account `i`; read back by expect_right."""
    change = pb.AccountChange(address=i.to_bytes(20, 'big'), nonce=number, balance=quantity(number * 1000 + i),
                              code=b'code %d' % (i % 7))
    change.slots.add(key=word(i), value=quantity(number))
    return change


def apply(daemon, number, count=ACCOUNTS, extra=()):
    return daemon.apply(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big') if number > 1 else ZERO_HASH,
                        [change_of(number, i) for i in range(1, count + 1)] + list(extra))


class SyncTest(unittest.TestCase):
    @unittest.skipIf(with_sanitizer(), "a sanitizer's runtime has to be loaded first")
    def test_a_sync_that_fails(self):
        with Daemon('--persistence.mode', 'sync', '--health.check_interval', '100ms') as daemon:
            apply(daemon, 1)
            daemon.stop()
            switch = os.path.join(daemon.scratch, 'fail')
            with unittest.mock.patch.dict(os.environ, LD_PRELOAD=FAIL_SYNC, FAIL_SYNC_OF='/log/', FAIL_SYNC_WHILE=switch):
                daemon.start()
            apply(daemon, 2)
            with open(switch, 'w', encoding='utf-8'):
                pass
            with self.assertRaises(grpc.RpcError) as failed:
                apply(daemon, 3)
            self.assertEqual(failed.exception.code(), grpc.StatusCode.UNAVAILABLE, failed.exception.details())
            self.assertIn('syncing the change log failed', failed.exception.details())
            os.remove(switch)  # the disk is well again, and nothing is trusted all the same
            with self.assertRaises(grpc.RpcError) as failed:
                apply(daemon, 3)
            self.assertEqual(failed.exception.code(), grpc.StatusCode.UNAVAILABLE)
            with self.assertRaises(grpc.RpcError):
                daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=1)))
            # Reads go on, of this block and of older ones, and nothing of block 3 is seen.
            self.assertEqual(daemon.head().number, 2)
            for number in (1, 2):
                self.assertEqual(daemon.account((1).to_bytes(20, 'big'), number=number).account.nonce, number)
            daemon.proof((1).to_bytes(20, 'big'), [word(1)], number=1)
            self.assertTrue(eventually(lambda: re.search(r'(?m)^state_health_level 1$', get(daemon, '/metrics'))))
            self.assertRegex(get(daemon, '/metrics'), r'(?m)^state_read_only 1$')
            self.assertTrue(eventually(lambda: '[-]writable' in get(daemon, '/readyz')))
            daemon.stop()  # by which the log is complete
            self.assertEqual(len(re.findall(r' read_only |"read_only"', daemon.whole_log())), 1)
            daemon.start()
            # Block 3 is there or it is not: sent again it is.
            self.assertIn(daemon.head().number, (2, 3))
            apply(daemon, 3)
            self.assertEqual(daemon.head().number, 3)
            self.assertTrue(daemon.verify_data().ok)


class FullDiskTest(unittest.TestCase):
    def test_writing_stops_and_goes_on(self):
        disk = tempfile.mkdtemp(prefix='mptd-disk-')
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', disk], check=False,
                          capture_output=True).returncode != 0:
            os.rmdir(disk)
            self.skipTest('mounting a small file system takes root and CAP_SYS_ADMIN')
        try:
            with Daemon('--persistence.log_segment_bytes', '4MiB', '--persistence.queue_bytes', '4MiB',
                        '--pruning.keep_recent_states', '4', '--health.min_free_disk_bytes', '8MiB',
                        '--server.default_deadline', '5s',
                        data=os.path.join(disk, 'data')) as daemon:
                self.fill(daemon, disk)
        finally:
            subprocess.run(['umount', disk], check=True)
            os.rmdir(disk)

    def fill(self, daemon, disk):
        number = 1
        apply(daemon, number)
        ballast = os.path.join(disk, 'ballast')
        room = os.statvfs(disk)
        with open(ballast, 'wb') as file:  # 20 MiB are left, below every reserve
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (20 << 20))
        big = [pb.AccountChange(address=b'\xee' * 20, nonce=1, code=os.urandom(1 << 20))]
        with self.assertRaises(grpc.RpcError) as refused:
            for _ in range(60):
                big[0].code = os.urandom(1 << 20)
                daemon.state.ApplyStateChanges(pb.ApplyStateChangesRequest(
                    number=number + 1, hash=(number + 1).to_bytes(32, 'big'), parent_hash=number.to_bytes(32, 'big'),
                    changes=big))
                number += 1
        self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, refused.exception.details())
        self.assertRegex(refused.exception.details(), 'disk .* nearly full|flush has not kept up')
        room = os.statvfs(disk)
        self.assertGreater(room.f_bavail * room.f_frsize, 1 << 20, 'the disk was filled to the brim')
        status = daemon.admin.GetStatus(admin_pb.GetStatusRequest())
        self.assertFalse(status.read_only, status)
        self.assertEqual(daemon.head().number, number)
        self.assertEqual(daemon.account((5).to_bytes(20, 'big')).account.nonce, 1)
        os.remove(ballast)
        end = time.monotonic() + PATIENCE
        while True:  # without a restart
            try:
                apply(daemon, number + 1)
                break
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertLess(time.monotonic(), end)
                time.sleep(0.1)
        daemon.restart(signal.SIGKILL)
        self.assertEqual(daemon.head().number, number + 1)
        self.assertTrue(daemon.verify_data().ok)


class FlipTest(unittest.TestCase):
    """One stopped daemon's folder with tables of every kind; each test flips a byte in a copy of it."""

    BLOCKS = 12

    @classmethod
    def setUpClass(cls):
        cls.flags = ['--pruning.keep_recent_states', '6', '--pruning.pruning_interval_blocks', '2',
                     '--cache.history_memory_bytes', '1MiB', '--logging.level', 'warn']
        cls.scratch = tempfile.mkdtemp(prefix='mptd-flips-')
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.data = os.path.join(cls.scratch, 'data')
        cls.roots = {}
        with Daemon(*cls.flags, data=cls.data) as daemon:
            for number in range(1, cls.BLOCKS + 1):
                cls.roots[number] = apply(daemon, number).block.state_root
                if number % 3 == 0:
                    daemon.admin.Flush(admin_pb.FlushRequest())
            daemon.account((1).to_bytes(20, 'big'), number=cls.BLOCKS - 5)  # fills history_index
            cls.roots[cls.BLOCKS + 1] = apply(daemon, cls.BLOCKS + 1).block.state_root
            daemon.process.kill()
            daemon.process.wait()  # the last block is in the change log alone
        cls.copies = 0

    def copy(self):
        FlipTest.copies += 1
        path = os.path.join(self.scratch, f'copy-{self.copies}')
        shutil.copytree(self.data, path)
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def files(self):
        """Names relative to the folder, by kind."""
        kinds = {}
        for folder, _, names in os.walk(self.data):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), self.data)
                kind = re.sub(r'[0-9]+', '', name) if not name.endswith(('.sst', '.log')) else name[-3:]
                if kind in ('LOCK', 'LOG') or name.startswith('LOG') or not os.path.getsize(os.path.join(self.data, path)):
                    continue
                kinds.setdefault(kind, []).append(path)
        return kinds

    @staticmethod
    def flip(path, share):
        with open(path, 'r+b') as file:
            at = int(os.path.getsize(path) * share)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x10]))
        return at

    def check_offline(self, data, *flags):
        return subprocess.run([MPTCTL, '-o', 'json', 'check', data, *flags], capture_output=True, text=True,
                              timeout=PATIENCE, env=environment(), check=False)

    def ask(self, daemon):
        """Everything, of every served block: right, or an error with a sentence. Returns the codes of the errors."""
        codes = set()

        def wants(call, right):
            try:
                answer = call()
            except grpc.RpcError as error:
                codes.add(error.code())
                self.assertTrue(error.details())
                return
            right(answer)

        for number in range(self.BLOCKS - 4, self.BLOCKS + 2):
            addresses = [i.to_bytes(20, 'big') for i in range(1, ACCOUNTS + 1)]
            ref = pb.BlockRef(number=number)

            def accounts(answer, number=number):
                if number in self.roots:
                    self.assertEqual(answer.block.state_root, self.roots[number])
                for i, entry in enumerate(answer.accounts, 1):
                    self.assertTrue(entry.exists)
                    self.assertEqual((entry.account.nonce, entry.account.balance), (number, quantity(number * 1000 + i)))

            wants(lambda: daemon.state.GetAccounts(pb.GetAccountsRequest(addresses=addresses, block=ref)), accounts)
            for i in range(1, ACCOUNTS + 1, 23):
                wants(lambda i=i: daemon.state.GetStorage(pb.GetStorageRequest(address=i.to_bytes(20, 'big'), slots=[word(i)],
                                                                          block=ref)),
                      lambda answer, n=number: self.assertEqual(list(answer.values), [quantity(n)]))
                wants(lambda i=i: daemon.proof(i.to_bytes(20, 'big'), [word(i)], number=number),
                      lambda answer, n=number: self.assertEqual(answer.nonce, n))
        for i in range(1, 8):
            wants(lambda i=i: daemon.state.GetCode(pb.GetCodeRequest(address=i.to_bytes(20, 'big'))),
                  lambda answer, i=i: self.assertEqual(answer.code, b'code %d' % (i % 7)))
        return codes

    def start_on(self, data):
        """A daemon on damaged data; None when it refuses, which says why."""
        daemon = Daemon(*self.flags, data=data)
        self.addCleanup(daemon.close, check=False)
        try:
            return daemon.start()
        except AssertionError as error:
            self.assertRegex(str(error), 'mptd exited with [0-9]+')
            self.assertRegex(daemon.log(), r'DATA_LOSS|damaged|[Cc]orrupt|FORMAT|checksum|newer|[Ii]nvalid')
            return None

    def checked_by_daemon(self, daemon):
        try:
            return daemon.verify_data().ok
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.DATA_LOSS, error.details())
            return False

    def test_stopped(self):
        whole = self.check_offline(self.data)
        self.assertEqual((whole.returncode, json.loads(whole.stdout)['ok']), (0, True), whole.stderr)
        kinds = self.files()
        self.assertLessEqual({'sst', 'MANIFEST-', 'CURRENT', 'FORMAT'}, set(kinds))
        shares = itertools.cycle((0.02, 0.5, 0.97))
        for kind, paths in sorted(kinds.items()):
            for path in sorted(paths)[::4 if SHORT and kind == 'sst' else 1]:
                with self.subTest(path=path):
                    self.one_flip(kind, path, next(shares))

    def one_flip(self, kind, path, share):
        data = self.copy()
        at = self.flip(os.path.join(data, path), share)
        found = self.check_offline(data)
        # A table's footer is padded with zeros that nothing depends on.
        padding = kind == 'sst' and at >= os.path.getsize(os.path.join(data, path)) - FOOTER and found.returncode == 0
        if not padding and kind in ('sst', 'MANIFEST-', 'CURRENT', 'FORMAT'):
            self.assertIn(found.returncode, (1, 2), f'byte {at}: {found.stdout}')
            self.assertIn(os.path.basename(path) if kind == 'sst' else os.path.dirname(path), found.stdout + found.stderr)
            if found.returncode == 1:
                self.assertIn('restore a checkpoint', json.loads(found.stdout)['advice'])
                self.assertNotEqual(self.check_offline(data, '--repair').returncode, 0)
        daemon = self.start_on(data)
        if daemon is None:
            return
        codes = self.ask(daemon)
        allowed = {grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
        if path.startswith('log/'):
            allowed = {grpc.StatusCode.OUT_OF_RANGE}  # the last block, which no reply called durable, may be gone
        self.assertLessEqual(codes, allowed, path)
        if padding:
            self.assertEqual(codes, set())
            self.assertTrue(self.checked_by_daemon(daemon))
        elif kind == 'sst':
            # The flip may be in what nobody reads now (an index of older blocks, a filter); a wrong answer it is never.
            self.checked_by_daemon(daemon)
        daemon.stop(signal.SIGKILL)

    def test_the_change_log(self):
        segments = [path for paths in self.files().values() for path in paths if path.startswith('log/')]
        self.assertTrue(segments)
        data = self.copy()
        path = os.path.join(data, sorted(segments)[0])
        with open(path, 'rb') as file:
            text = file.read()
        used = len(text.rstrip(b'\0'))
        self.flip(path, used / 4 / len(text))  # in a record that later ones call durable
        found = self.check_offline(data)
        self.assertEqual(found.returncode, 1, found.stdout)
        report = json.loads(found.stdout)
        self.assertIn('log/', report['damage'][0]['problem'])
        self.assertIn('--repair', report['advice'])
        another = data + '-started'
        shutil.copytree(data, another)
        daemon = self.start_on(another)
        # Where it starts, all that is lost is the last block, which no reply called durable.
        self.assertTrue(daemon is None or self.ask(daemon) <= {grpc.StatusCode.OUT_OF_RANGE})
        if daemon is not None:
            daemon.stop(signal.SIGKILL)
        done = self.check_offline(data, '--repair')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.isdir(json.loads(done.stdout)['moved_to']))
        self.assertEqual(self.check_offline(data).returncode, 0)
        with Daemon(*self.flags, data=data) as daemon:
            self.assertEqual(daemon.head().number, report['block'])
            self.assertEqual(daemon.head().state_root, self.roots[report['block']])
            self.assertTrue(daemon.verify_data().ok)
            number = report['block'] + 1
            self.assertEqual(apply(daemon, number).block.state_root, self.roots[number])

    def test_running(self):
        data = self.copy()
        with Daemon(*self.flags, '--cache.block_cache_bytes', '1MiB', data=data) as daemon:
            for path in self.files()['sst']:
                self.flip(os.path.join(data, path), 0.4)
            codes = self.ask(daemon)
            self.assertLessEqual(codes, {grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE})
            if grpc.StatusCode.DATA_LOSS not in codes:  # readers were lucky
                self.assertFalse(self.checked_by_daemon(daemon))
            self.assertTrue(eventually(lambda: re.search(r'(?m)^state_corruption_detected 1$', get(daemon, '/metrics'))))
            with self.assertRaises(grpc.RpcError) as refused:
                apply(daemon, self.BLOCKS + 2)
            self.assertIn(refused.exception.code(), (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE))
            daemon.stop(signal.SIGKILL)


if __name__ == '__main__':
    unittest.main()

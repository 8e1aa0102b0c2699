"""Checkpoints under load, their manifests, restoring them, and the ones that the daemon makes by itself."""
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

from client import MPTCTL, PATIENCE, ZERO_HASH, Daemon, admin_pb, eventually, pb

HASHES = {0: ZERO_HASH}


def address(i):
    return i.to_bytes(20, 'big')


def h(i):
    return HASHES.get(i) or i.to_bytes(32, 'big')


def apply_block(daemon, number):
    """Touches the accounts 1 to 100, and storage of account 7."""
    changes = [pb.AccountChange(address=address(i), nonce=number, balance=(number * i).to_bytes(8, 'big').lstrip(b'\0'))
               for i in range(1, 101)]
    changes[6].slots.add(key=h(number), value=b'\1')
    return daemon.apply(number, h(number), h(number - 1), changes).block


def checkpoint(*arguments):
    """`mptctl checkpoint ...`: exit code, JSON or None, standard error."""
    done = subprocess.run([MPTCTL, 'checkpoint', *arguments, '-o', 'json'], capture_output=True, text=True,
                          timeout=PATIENCE)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def flip_a_bit(path):
    """In a new file: the old one may be the daemon's own, under another name."""
    with open(path, 'rb') as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 1
    os.unlink(path)
    with open(path, 'wb') as file:
        file.write(data)


def manifest_of(folder):
    with open(os.path.join(folder, 'CHECKPOINT.json'), encoding='utf-8') as file:
        return json.load(file)


class BackupTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.copy = os.path.join(self.scratch, 'copy')
        self.target = os.path.join(self.scratch, 'restored')

    def under_load(self, daemon, work):
        """Applies blocks in another thread while `work` runs; returns the block of each number."""
        blocks, over, failed = {}, threading.Event(), []

        def apply_all():
            number = 0
            try:
                while not over.is_set() or number < 20:
                    number += 1
                    blocks[number] = apply_block(daemon, number)
            except grpc.RpcError as error:
                failed.append(error)

        thread = threading.Thread(target=apply_all)
        thread.start()
        try:
            eventually(lambda: len(blocks) >= 5 or failed)
            work()
        finally:
            over.set()
            thread.join()
        self.assertEqual(failed, [])
        return blocks

    def nothing_was_made(self):
        self.assertEqual([name for name in os.listdir(self.scratch) if name.startswith('restored')], [])

    def test_a_copy_made_under_load_is_restored(self):
        # All blocks are kept: who knows how many follow while the copy is made.
        with Daemon('--pruning.enable_pruning', 'false') as daemon:
            server = ['--server', f'127.0.0.1:{daemon.port}']
            answers = []
            blocks = self.under_load(
                daemon, lambda: answers.append(checkpoint('create', self.copy, '--verify', *server)))
            code, made, said = answers[0]
            self.assertEqual(code, 0, said)
            number = made['block']['number']
            self.assertEqual(made['block']['state_root'], '0x' + blocks[number].state_root.hex())
            expected = daemon.proof(address(7), [h(1)], number=number)
            code, _, said = checkpoint('create', self.copy, *server)
            self.assertEqual(code, 3)
            self.assertIn('exists', said)

        manifest = manifest_of(self.copy)
        self.assertEqual(manifest['number'], number)
        for file in manifest['files']:
            with open(os.path.join(self.copy, file['path']), 'rb') as data:
                self.assertEqual(hashlib.sha256(data.read()).hexdigest(), file['sha256'], file['path'])
        code, answer, said = checkpoint('verify', self.copy)
        self.assertEqual((code, answer['ok'], said), (0, True, ''))

        code, answer, said = checkpoint('restore', self.copy, self.target, '--full')
        self.assertEqual(code, 0, said)
        self.assertEqual(answer['block']['number'], number)
        self.assertEqual(checkpoint('verify', self.copy)[0], 0, 'the checkpoint is as it was')
        with Daemon(data=self.target) as other:
            self.assertEqual(other.head().number, number)
            self.assertEqual(other.head().state_root, blocks[number].state_root)
            found = other.proof(address(7), [h(1)])
            self.assertEqual(found.account_proof, expected.account_proof)
            self.assertEqual(found.storage_proofs, expected.storage_proofs)
            self.assertTrue(other.verify_data().ok)
            apply_block(other, number + 1)
        self.assertEqual(checkpoint('verify', self.copy)[0], 0, 'a daemon on the restored folder changes its own files')

    def test_damage_is_named_and_not_restored(self):
        with Daemon() as daemon:
            apply_block(daemon, 1)
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=self.copy))
        for file in [file['path'] for file in manifest_of(self.copy)['files'] if file['bytes'] > 0]:
            with self.subTest(file):
                path = os.path.join(self.copy, file)
                shutil.copy2(path, self.scratch + '/good')
                flip_a_bit(path)
                code, answer, said = checkpoint('verify', self.copy)
                self.assertEqual(code, 1)
                self.assertEqual([d['file'] for d in answer['differences']], [file])
                self.assertIn(path, said)
                code, _, said = checkpoint('restore', self.copy, self.target)
                self.assertEqual(code, 1, said)
                self.assertIn(path, said)
                self.nothing_was_made()
                os.replace(self.scratch + '/good', path)
        path = os.path.join(self.copy, 'CHECKPOINT.json')
        flip_a_bit(path)
        for command in (['verify', self.copy], ['restore', self.copy, self.target]):
            code, _, said = checkpoint(*command)
            self.assertEqual(code, 1, said)
            self.assertIn(path, said)
        self.nothing_was_made()

    def test_a_manifest_of_another_block_is_not_restored(self):
        """The files are whole, and the manifest too, but they do not belong together."""
        with Daemon() as daemon:
            apply_block(daemon, 1)
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=self.copy))
        for member, value in {'number': 2, 'hash': '0x' + 'ab' * 32, 'state_root': '0x' + 'cd' * 32,
                              'genesis_root': '0x' + 'ef' * 32}.items():
            with self.subTest(member):
                original = manifest_of(self.copy)
                changed = dict(original, **{member: value})
                del changed['sha256']
                text = json.dumps(changed, separators=(',', ':'))
                changed['sha256'] = hashlib.sha256(text.encode()).hexdigest()
                path = os.path.join(self.copy, 'CHECKPOINT.json')
                with open(path, 'w', encoding='utf-8') as file:
                    json.dump(changed, file)
                self.assertEqual(checkpoint('verify', self.copy)[0], 0)
                code, _, said = checkpoint('restore', self.copy, self.target)
                self.assertEqual(code, 1, said)
                self.assertIn('its manifest says', said)
                self.nothing_was_made()
                with open(path, 'w', encoding='utf-8') as file:
                    json.dump(original, file)

    def test_nothing_is_overwritten(self):
        with Daemon() as daemon:
            apply_block(daemon, 1)
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=self.copy))
            code, _, said = checkpoint('restore', self.copy, daemon.data)
            self.assertEqual(code, 2)
            self.assertIn(daemon.data, said)
            apply_block(daemon, 2)
        notes = os.path.join(self.target, 'notes')
        os.mkdir(self.target)
        with open(notes, 'w', encoding='utf-8') as file:
            file.write('mine')
        self.assertEqual(checkpoint('restore', self.copy, self.target)[0], 2)
        self.assertEqual(os.listdir(self.target), ['notes'])
        os.unlink(notes)
        self.assertEqual(checkpoint('restore', self.copy, os.path.join(self.copy, 'inside'))[0], 2)
        self.assertEqual(checkpoint('restore', os.path.join(self.scratch, 'none'), self.target)[0], 2)
        self.assertEqual(checkpoint('restore', self.copy, self.target)[0], 0, 'an empty folder may be there')
        self.assertEqual(sorted(os.listdir(self.target)), ['FORMAT', 'db', 'log'])

    def test_the_daemon_makes_its_own(self):
        folder = os.path.join(self.scratch, 'backups')
        kept = ['notes', 'checkpoint-000000000001-20260102T030405Z']  # neither is a checkpoint
        remains = 'checkpoint-000000000002-20260102T030405Z.partial'
        for name in (*kept, remains + '/db'):
            os.makedirs(os.path.join(folder, name))
        with Daemon('--backup.dir', folder, '--backup.interval', '1s', '--backup.keep', '2') as daemon:
            number, seen, end = 0, set(), time.monotonic() + PATIENCE
            while len(seen) < 4 or 'checkpoint_removed' not in daemon.whole_log():
                self.assertLess(time.monotonic(), end, daemon.log())
                number += 1
                apply_block(daemon, number)
                listed = checkpoint('list', folder)[1]
                seen |= {one['name'] for one in listed if one['state'] == 'complete'}
                time.sleep(0.1)
            log = daemon.whole_log()  # lines come in order: what was made or removed before is there, too
            self.assertIn('checkpoint_made', log)
            self.assertIn('checkpoint_remains_removed', log)
        listed = [one for one in checkpoint('list', folder)[1] if one['state'] == 'complete']
        # One may have been made that the stop did not leave time to remove another for.
        self.assertLessEqual(len(listed), 3)
        for one in listed:
            self.assertRegex(one['name'], r'^checkpoint-\d{12}-\d{8}T\d{6}Z$')
            self.assertEqual(int(one['name'].split('-')[1]), one['block']['number'])
            self.assertEqual(checkpoint('verify', os.path.join(folder, one['name']))[0], 0)
        names = os.listdir(folder)
        self.assertNotIn(remains, names)
        for name in kept:
            self.assertIn(name, names)

    def test_a_folder_that_cannot_be_written_stops_nothing(self):
        folder = os.path.join(self.scratch, 'file')
        with open(folder, 'w', encoding='utf-8'):
            pass
        with Daemon('--backup.dir', folder, '--backup.interval', '1s') as daemon:
            self.assertTrue(daemon.logs(r'error storage checkpoint_failed dir=\S+/file reason='), daemon.log())
            apply_block(daemon, 1)


if __name__ == '__main__':
    unittest.main()

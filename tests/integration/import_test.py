"""`mptd import`: a state as go-ethereum dumps it, then a daemon on it."""
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import grpc

from client import EMPTY_ROOT, MPTD, PATIENCE, ZERO_HASH, Daemon, load, pb, to_hex, unhex
from states_test import is_empty, slots_of

BLOCK_HASH = b'\xb0' * 32


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith('MPTD_')}


def rlp(data):
    return data if len(data) == 1 and data[0] < 0x80 else bytes([0x80 + len(data)]) + data


def richest(cases):
    """The pre-state with most accounts that have storage, none of them empty."""
    states = [(case['pre'], case['pre_root']) for case in cases
              if not any(is_empty(fields) for fields in case['pre'].values())]
    return max(states, key=lambda state: sum(1 + 10 * bool(slots_of(fields)) for fields in state[0].values()))


class ImportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.accounts, root = richest(load('blockchain_states.json.gz'))
        cls.root = unhex(root)
        # What a dump says and the vectors do not, hashes and storage roots, a daemon knows.
        with Daemon() as daemon:
            applied = daemon.apply(1, BLOCK_HASH, ZERO_HASH, cls.accounts)
            assert applied.block.state_root == cls.root
            cls.known = {address: daemon.account(unhex(address)).account for address in cls.accounts}
        cls.plain = cls.dump(hashed=False)
        cls.hashed = cls.dump(hashed=True)

    @classmethod
    def dump(cls, hashed):
        lines = [({}, {'root': to_hex(cls.root)})]
        for address, fields in cls.accounts.items():
            known = cls.known[address]
            line = {'balance': str(int(fields['balance'], 16)), 'nonce': int(fields['nonce'], 16),
                    'root': to_hex(known.storage_root), 'codeHash': to_hex(known.code_hash)}
            if unhex(fields['code']):
                line['code'] = fields['code']
            slots = slots_of(fields)
            if slots and hashed:
                line['storage'] = {to_hex(keccak(key)): rlp(value).hex() for key, value in slots.items()}
            elif slots:
                line['storage'] = {to_hex(key): value.hex() for key, value in slots.items()}
            if not hashed:
                line['address'] = address
            line['key'] = to_hex(keccak(unhex(address)))
            lines.append((line['key'], line))
        lines[1:] = sorted(lines[1:], key=lambda pair: pair[0])
        return ''.join(json.dumps(line) + '\n' for _, line in lines)

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.data = os.path.join(self.scratch, 'data')

    def path(self, name, content):
        path = os.path.join(self.scratch, name)
        with open(path, 'wb') as file:
            file.write(content)
        return path

    def run_import(self, *words, data=None, **options):
        return subprocess.run([MPTD, 'import', '--data-dir', data or self.data, *words], capture_output=True,
                              timeout=PATIENCE, env=environment(), **options)

    def refused(self, code, *words, says, **options):
        done = self.run_import(*words, **options)
        text = done.stderr.decode()
        self.assertEqual(done.returncode, code, text)
        for word_said in says if isinstance(says, tuple) else (says,):
            self.assertIn(word_said, text)
        self.assertEqual(done.stdout, b'')

    def check_daemon(self):
        """Reads, proofs' roots, the next block, a restart, and what is below the import."""
        with Daemon(data=self.data) as daemon:
            head = daemon.head()
            self.assertEqual((head.number, head.state_root), (100, self.root))
            for address, fields in self.accounts.items():
                account = daemon.account(unhex(address)).account
                self.assertEqual(account, self.known[address], address)
                slots = slots_of(fields)
                if slots:
                    got = daemon.state.GetStorage(pb.GetStorageRequest(address=unhex(address), slots=list(slots)))
                    self.assertEqual(list(got.values), list(slots.values()), address)
                if unhex(fields['code']):
                    code = daemon.state.GetCode(pb.GetCodeRequest(code_hash=account.code_hash)).code
                    self.assertEqual(code, unhex(fields['code']))
            self.assertTrue(daemon.verify_data().ok)
            changes = [pb.AccountChange(address=unhex(address), delete=True) for address in self.accounts]
            self.assertEqual(daemon.apply(101, b'\x01' * 32, head.hash, changes).block.state_root, EMPTY_ROOT)
            daemon.restart()
            back = daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=100))).block
            self.assertEqual(back.state_root, self.root)
            with self.assertRaises(grpc.RpcError) as refused:
                daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=99)))
            self.assertEqual(refused.exception.code(), grpc.StatusCode.OUT_OF_RANGE)

    def test_all_forms(self):
        """By keys and by hashed keys, plain and compressed, from a file and from standard input."""
        summaries = []
        for name, content in (('plain', self.plain), ('hashed', self.hashed)):
            for packed in (False, True):
                with self.subTest(form=name, packed=packed):
                    shutil.rmtree(self.data, ignore_errors=True)
                    text = gzip.compress(content.encode()) if packed else content.encode()
                    piped = name == 'hashed'
                    file, options = ('-', {'input': text}) if piped else (self.path('dump', text), {})
                    done = self.run_import('--number', '100', file, '-o', 'json', **options)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(done.stderr, b'')
                    summary = json.loads(done.stdout)
                    self.assertGreaterEqual(summary.pop('seconds'), 0)
                    self.assertEqual(summary['state_root'], to_hex(self.root))
                    self.assertEqual(summary['accounts'], len(self.accounts))
                    self.assertEqual(summary['slots'], sum(len(slots_of(f)) for f in self.accounts.values()))
                    summaries.append(summary)
                    if not packed:
                        self.check_daemon()
        self.assertEqual(summaries[1:], summaries[:-1])

    def test_the_block_is_as_given(self):
        done = self.run_import(self.path('dump', self.plain.encode()), '--number=100', '--block-hash',
                               to_hex(BLOCK_HASH), '--parent-hash', to_hex(b'\xa0' * 32), '--expected-root',
                               to_hex(self.root))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(to_hex(self.root), done.stdout.decode())
        with Daemon(data=self.data) as daemon:
            head = daemon.head()
            self.assertEqual((head.number, head.hash, head.parent_hash), (100, BLOCK_HASH, b'\xa0' * 32))
            daemon.apply(101, b'\x01' * 32, BLOCK_HASH, [])

    def test_wrong_use(self):
        dump = self.path('dump', self.plain.encode())
        self.refused(2, dump, says='--number')
        self.refused(2, '--number', '1', says='name the file')
        self.refused(2, '--number', '1', dump, dump, says='one file at a time')
        self.refused(2, '--number', 'x', dump, says='number')
        self.refused(2, '--number', '1', '--block-hash', '0x12', dump, says='--block-hash')
        self.refused(2, '--number', '1', '--no-such-setting', '1', dump, says='no-such-setting')
        self.refused(1, '--number', '1', os.path.join(self.scratch, 'absent'), says='absent')
        self.refused(1, '--number', '1', '--expected-root', to_hex(ZERO_HASH), dump,
                     says=(to_hex(self.root), '--expected-root'))
        self.refused(1, '--number', '1', '-', input=b'{"no":"dump"}\n', says='standard input, line 1')
        # None of these left anything.
        self.assertFalse(os.path.exists(self.data))
        done = self.run_import('--help')
        self.assertEqual(done.returncode, 0)
        self.assertIn(b'geth snapshot dump', done.stdout)

    def test_what_failed_is_not_served(self):
        lines = self.plain.splitlines(keepends=True)
        packed = gzip.compress(self.plain.encode())
        wrong = {
            'swapped': (''.join(lines[:1] + lines[2:3] + lines[1:2] + lines[3:]).encode(), 'does not come after'),
            'short': (''.join(lines[:-1]).encode(), 'expected is ' + to_hex(self.root)),
            'cut': (packed[:len(packed) // 2], 'cut off'),
        }
        for name, (content, says) in wrong.items():
            with self.subTest(name):
                data = os.path.join(self.scratch, 'data-' + name)
                file = self.path(name, content)
                self.refused(1, '--number', '1', file, data=data, says=(says, 'remove it'))
                self.refused(1, '--number', '1', file, data=data, says=('did not finish', data))
                daemon = subprocess.run([MPTD, '--data-dir', data, '--listen', '127.0.0.1:0', '--http-listen', 'off'],
                                        capture_output=True, text=True, timeout=PATIENCE, env=environment())
                self.assertEqual(daemon.returncode, 1)
                self.assertIn('did not finish', daemon.stderr)
                check = subprocess.run([MPTD, 'check', '--quick', '-o', 'json', '--data-dir', data], capture_output=True,
                                       text=True, timeout=PATIENCE, env=environment())
                found = {c['name']: c for c in json.loads(check.stdout)['checks']}['data']
                self.assertEqual(found['result'], 'failed')
                self.assertIn('did not finish', found['measured'])
                self.assertIn('mptd import', found['advice'])

    def test_killed(self):
        importing = subprocess.Popen([MPTD, 'import', '--data-dir', self.data, '--number', '1', '-'],
                                     stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        # More than is read at once before the import begins: when all of it is taken, the folder is marked.
        importing.stdin.write(self.plain.encode() + b'\n' * (2 << 20))
        importing.stdin.flush()
        importing.kill()
        importing.communicate()
        self.refused(1, '--number', '1', '-', input=self.plain.encode(), says=('did not finish', 'remove the folder'))
        shutil.rmtree(self.data)
        self.assertEqual(self.run_import('--number', '100', '-', input=self.plain.encode()).returncode, 0)
        self.check_daemon()


def keccak(data):
    """Keccak-256, as the tests have no library for it: FIPS 202's permutation with the original padding."""
    rotations = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]
    mask = (1 << 64) - 1
    state = [[0] * 5 for _ in range(5)]
    data = bytearray(data) + b'\x01'
    data += bytes(-len(data) % 136)
    data[-1] |= 0x80
    for block in range(0, len(data), 136):
        for i in range(17):
            state[i % 5][i // 5] ^= int.from_bytes(data[block + 8 * i:block + 8 * i + 8], 'little')
        lfsr = 1
        for _ in range(24):
            c = [a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] for a in state]
            d = [c[x - 1] ^ ((c[(x + 1) % 5] << 1 | c[(x + 1) % 5] >> 63) & mask) for x in range(5)]
            moved = [[0] * 5 for _ in range(5)]
            for x in range(5):
                for y in range(5):
                    lane, turn = state[x][y] ^ d[x], rotations[x][y]
                    moved[y][(2 * x + 3 * y) % 5] = (lane << turn | lane >> (64 - turn)) & mask
            state = [[moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]) for y in range(5)]
                     for x in range(5)]
            for j in range(7):
                if lfsr & 1:
                    state[0][0] ^= 1 << ((1 << j) - 1)
                lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
    return b''.join(state[i % 5][i // 5].to_bytes(8, 'little') for i in range(4))


if __name__ == '__main__':
    unittest.main()

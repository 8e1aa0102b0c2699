"""The genesis of the four networks, by name at start and from a file through mptctl, has the root that all clients know."""
import os
import subprocess
import unittest

from client import MPTCTL, PATIENCE, SOURCE, Daemon, load, pb, proof_json, quantity, unhex, verify_offline, word

HASHES = {
    'mainnet': 'd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3',
    'sepolia': '25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9',
    'holesky': 'b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4',
    'hoodi': 'bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b',
}


class NetworksTest(unittest.TestCase):
    def check_accounts(self, daemon, genesis):
        accounts = genesis['accounts']
        answer = daemon.state.GetAccounts(pb.GetAccountsRequest(addresses=[unhex(a) for a in accounts]))
        for entry, (address, fields) in zip(answer.accounts, accounts.items(), strict=True):
            self.assertTrue(entry.exists, address)
            self.assertEqual(entry.account.balance, quantity(fields['balance']), address)
            self.assertEqual(entry.account.nonce, int(fields['nonce'], 16), address)
        for address, fields in accounts.items():
            if fields['code'] != '0x':
                code = daemon.state.GetCode(pb.GetCodeRequest(address=unhex(address)))
                self.assertEqual(code.code, unhex(fields['code']), address)
            if fields['storage']:
                slots = daemon.state.GetStorage(
                    pb.GetStorageRequest(address=unhex(address), slots=[word(key) for key in fields['storage']]))
                self.assertEqual(list(slots.values), [quantity(v) for v in fields['storage'].values()], address)

    def test_by_name(self):
        for name, block_hash in HASHES.items():
            with self.subTest(name):
                genesis = load(f'genesis_{name}.json.gz')
                with Daemon('--genesis', name) as daemon:
                    head = daemon.head()
                    self.assertEqual(head.number, 0)
                    self.assertEqual(head.state_root, unhex(genesis['state_root']))
                    self.assertEqual(head.hash.hex(), block_hash)
                    self.check_accounts(daemon, genesis)
                    # The flag stays in the unit file: on a folder that has the genesis it changes nothing.
                    daemon.restart()
                    self.assertEqual(daemon.head(), head)

    def test_from_a_file_through_mptctl(self):
        for name in HASHES:
            with self.subTest(name):
                genesis = load(f'genesis_{name}.json.gz')
                with Daemon() as daemon:
                    file = os.path.join(SOURCE, 'core/genesis', name + '.json.gz')
                    done = subprocess.run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', 'import', file],
                                          capture_output=True, text=True, timeout=PATIENCE)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(daemon.head().state_root, unhex(genesis['state_root']))
                    self.check_accounts(daemon, genesis)

    def test_proofs_of_every_kind_of_account(self):
        genesis = load('genesis_hoodi.json.gz')
        with Daemon('--genesis', 'hoodi') as daemon:
            root = unhex(genesis['state_root'])
            contract = next(a for a, fields in genesis['accounts'].items() if fields['storage'])
            keys = [word(key) for key in list(genesis['accounts'][contract]['storage'])[:3]] + [word(1 << 200)]
            for address, slots in ((unhex(contract), keys), (unhex('0x' + '01'.rjust(40, '0')), []), (b'\xee' * 20, keys)):
                accepted, said = verify_offline(root, proof_json(daemon.proof(address, slots)))
                self.assertTrue(accepted, said)
            forged = proof_json(daemon.proof(unhex(contract), keys))
            forged['balance'] = '0x1234567'
            self.assertFalse(verify_offline(root, forged)[0])


if __name__ == '__main__':
    unittest.main()

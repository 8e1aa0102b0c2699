"""The chain that go-ethereum recorded: every root, and every eth_getProof answer byte for byte, also after restarts."""
import signal
import unittest

from client import EMPTY_ROOT, Daemon, block_request, load, pb, proof_json, to_hex, unhex, verify_offline, word


class ChainTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.blocks = load('geth_chain.json.gz')['blocks']

    def apply_all(self, daemon, check_proofs):
        for block in self.blocks:
            answer = daemon.apply(block['number'], unhex(block['hash']), unhex(block['parent_hash']), block['changes'],
                                  expected_root=unhex(block['state_root']))
            self.assertEqual(to_hex(answer.block.state_root), block['state_root'])
            if check_proofs:
                self.check_proofs(daemon, [block])

    def check_proofs(self, daemon, blocks):
        checked = 0
        for block in blocks:
            for recorded in block['proofs']:
                slots = [word(slot['key']) for slot in recorded['storageProof']]
                got = daemon.proof(unhex(recorded['address']), slots, number=block['number'])
                where = f'block {block["number"]} account {recorded["address"]}'
                self.assertEqual(to_hex(got.block.state_root), block['state_root'], where)
                self.assertEqual([to_hex(node) for node in got.account_proof], recorded['accountProof'], where)
                self.assertEqual(got.nonce, int(recorded['nonce'], 16), where)
                self.assertEqual(int.from_bytes(got.balance, 'big'), int(recorded['balance'], 16), where)
                for slot, expected in zip(got.storage_proofs, recorded['storageProof'], strict=True):
                    self.assertEqual([to_hex(node) for node in slot.proof], expected['proof'], where)
                    self.assertEqual(int.from_bytes(slot.value, 'big'), int(expected['value'], 16), where)
                checked += 1
        return checked

    def test_all_proofs_of_all_blocks(self):
        with Daemon('--pruning.keep_recent_states', '1000') as daemon:
            self.apply_all(daemon, check_proofs=True)
            self.assertEqual(self.check_proofs(daemon, self.blocks), 611)
            daemon.restart(signal.SIGTERM)
            self.assertEqual(self.check_proofs(daemon, self.blocks), 611)
            daemon.restart(signal.SIGKILL)
            self.assertEqual(self.check_proofs(daemon, self.blocks), 611)
            self.assertTrue(daemon.verify_data().ok)

    def test_killed_right_after_the_last_block(self):
        with Daemon('--persistence.mode', 'sync', '--pruning.keep_recent_states', '1000') as daemon:
            self.apply_all(daemon, check_proofs=False)
            daemon.restart(signal.SIGKILL)
            self.assertEqual(to_hex(daemon.head().hash), self.blocks[-1]['hash'])
            self.assertEqual(self.check_proofs(daemon, self.blocks), 611)

    def test_proofs_verify_offline(self):
        with Daemon() as daemon:
            self.apply_all(daemon, check_proofs=False)
            for block in self.blocks[-100::20]:
                for recorded in block['proofs'][:2]:
                    slots = [word(slot['key']) for slot in recorded['storageProof']]
                    got = daemon.proof(unhex(recorded['address']), slots, hash=unhex(block['hash']))
                    accepted, said = verify_offline(unhex(block['state_root']), proof_json(got))
                    self.assertTrue(accepted, said)

    def test_one_stream_of_all_blocks(self):
        with Daemon() as daemon:
            requests = (pb.ApplyStateChangesStreamRequest(block=request) for request in self.requests())
            answers = list(daemon.state.ApplyStateChangesStream(requests))
            self.assertEqual([to_hex(a.result.block.state_root) for a in answers],
                             [block['state_root'] for block in self.blocks])
            followed = daemon.state.StreamBlocks(
                pb.StreamBlocksRequest(from_number=self.blocks[-100]['number'], stop_at_head=True))
            self.assertEqual([to_hex(e.block.hash) for e in followed], [block['hash'] for block in self.blocks[-100:]])

    def requests(self):
        for block in self.blocks:
            yield block_request(block['number'], unhex(block['hash']), unhex(block['parent_hash']), block['changes'])

    def test_back_to_the_start_and_forward_again(self):
        with Daemon('--pruning.keep_recent_states', '1000') as daemon:
            self.apply_all(daemon, check_proofs=False)
            for block in self.blocks[-2::-30] + self.blocks[:1]:
                back = daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=block['number']))).block
                self.assertEqual(to_hex(back.state_root), block['state_root'])
                self.check_proofs(daemon, [block])
            self.assertNotEqual(daemon.head().state_root, EMPTY_ROOT)
            for block in self.blocks[1:]:
                daemon.apply(block['number'], unhex(block['hash']), unhex(block['parent_hash']), block['changes'],
                             expected_root=unhex(block['state_root']))
            self.assertEqual(self.check_proofs(daemon, self.blocks), 611)


if __name__ == '__main__':
    unittest.main()

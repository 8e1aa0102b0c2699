"""Health, reflection, and what each call answers when something is wrong: status, details, and an unchanged state."""
import os
import tempfile
import unittest

import grpc
from google.protobuf import descriptor_pb2

from client import (PATIENT, ZERO_HASH, Daemon, admin_pb, block_request, error_details, health_grpc, health_pb, pb, reflection_grpc,
                    reflection_pb)

Code = grpc.StatusCode


def address(i):
    return i.to_bytes(20, 'big')


def h(i):
    return i.to_bytes(32, 'big')


def change(i, **fields):
    return pb.AccountChange(address=address(i), **fields)


def request(number, changes, parent=None, block_hash=None, **options):
    return block_request(number, h(number) if block_hash is None else block_hash,
                         h(number - 1) if parent is None else parent, changes, **options)


class ServiceTest(unittest.TestCase):
    """One daemon for all tests, its head at block 3; none of them leaves another state behind."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*PATIENT).start()
        cls.state = cls.daemon.state
        apply = cls.state.ApplyStateChanges
        first = [change(i, nonce=1, balance=i.to_bytes(4, 'big').lstrip(b'\0'), slots=[pb.SlotChange(key=h(i), value=b'\7')])
                 for i in range(1, 200)]
        cls.roots = {1: apply(request(1, first, parent=ZERO_HASH)).block.state_root,
                     2: apply(request(2, [change(5, nonce=9), change(300, balance=b'\1')])).block.state_root,
                     3: apply(request(3, [change(6, delete=True)])).block.state_root}

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def setUp(self):
        self.assertEqual(self.daemon.head().state_root, self.roots[3])

    def refused(self, code, call, *arguments):
        """The call fails with `code` and a message that says something, and the head stays; returns the details."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments)
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        self.assertGreater(len(error.details()), 10)
        self.assertEqual(self.daemon.head().state_root, self.roots[3])
        return error_details(error)

    def test_health(self):
        health = health_grpc.HealthStub(self.daemon.channel)
        for service in ('', 'mptd.v1.StateService', 'mptd.v1.AdminService'):
            answer = health.Check(health_pb.HealthCheckRequest(service=service))
            self.assertEqual(answer.status, health_pb.HealthCheckResponse.SERVING, service)
        with self.assertRaises(grpc.RpcError) as caught:
            health.Check(health_pb.HealthCheckRequest(service='mptd.v1.NoSuchService'))
        self.assertEqual(caught.exception.code(), Code.NOT_FOUND)

    def test_reflection(self):
        stub = reflection_grpc.ServerReflectionStub(self.daemon.channel)
        requests = [reflection_pb.ServerReflectionRequest(list_services='*'),
                    reflection_pb.ServerReflectionRequest(file_containing_symbol='mptd.v1.StateService')]
        listed, described = list(stub.ServerReflectionInfo(iter(requests)))
        names = {service.name for service in listed.list_services_response.service}
        self.assertLessEqual({'mptd.v1.StateService', 'mptd.v1.AdminService', 'grpc.health.v1.Health'}, names)
        files = [descriptor_pb2.FileDescriptorProto.FromString(data)
                 for data in described.file_descriptor_response.file_descriptor_proto]
        methods = {m.name for f in files for s in f.service if s.name == 'StateService' for m in s.method}
        self.assertIn('ApplyStateChanges', methods)

    def test_malformed_fields_are_named(self):
        slot = pb.SlotChange
        cases = {
            'changes[1].address': [change(1, nonce=1), pb.AccountChange(address=b'x' * 19, nonce=1)],
            'changes[0].address': [pb.AccountChange(nonce=1)],
            'changes[0].balance': [change(1, balance=b'\1' * 33)],
            'changes[0].slots[0].key': [change(1, slots=[slot(key=b'k' * 31, value=b'\1')])],
            'changes[0].slots[1].value': [change(1, slots=[slot(key=h(1), value=b'\1'), slot(key=h(2), value=b'\1' * 33)])],
            'changes[1]': [change(1, nonce=1), change(1, nonce=2)],
            'changes[0].slots[1]': [change(1, slots=[slot(key=h(1), value=b'\1'), slot(key=h(1), value=b'\2')])],
        }
        for path, changes in cases.items():
            with self.subTest(path):
                for call in (lambda: self.state.ApplyStateChanges(request(4, changes)),
                             lambda: self.state.ComputeStateRoot(pb.ComputeStateRootRequest(changes=changes))):
                    details = self.refused(Code.INVALID_ARGUMENT, call)
                    self.assertTrue(details['BadRequest'].field_violations[0].field.startswith(path),
                                    details['BadRequest'])
        self.refused(Code.INVALID_ARGUMENT, self.state.ApplyStateChanges, request(4, [], block_hash=b'h' * 31))
        self.refused(Code.INVALID_ARGUMENT, self.state.GetAccount, pb.GetAccountRequest(address=b'a' * 21))

    def test_blocks_that_do_not_fit(self):
        apply = self.state.ApplyStateChanges
        one = [change(1, nonce=7)]
        for what, wrong in {
                'a gap': request(5, one),
                'a wrong parent hash': request(4, one, parent=h(99)),
                'a wrong parent root': request(4, one, parent_root=h(1)),
                'a wrong expected root': request(4, one, expected_root=h(1)),
                'another block 3 without reorganize': request(3, one, block_hash=h(33)),
        }.items():
            with self.subTest(what):
                details = self.refused(Code.FAILED_PRECONDITION, apply, wrong)
                self.assertRegex(details['ErrorInfo'].reason, '^[A-Z_]+$')

    def test_blocks_that_are_not_served(self):
        self.refused(Code.OUT_OF_RANGE, lambda: self.daemon.account(address(1), number=99))
        self.refused(Code.NOT_FOUND, lambda: self.daemon.account(address(1), hash=h(77)))
        self.refused(Code.OUT_OF_RANGE, lambda: self.daemon.account(address(1), state_root=h(77)))
        self.refused(Code.INVALID_ARGUMENT, lambda: self.daemon.account(address(1), hash=b'short'))

    def test_the_window_moves_on(self):
        with Daemon('--pruning.keep_recent_states', '5') as daemon:
            for number in range(1, 31):
                daemon.state.ApplyStateChanges(request(number, [change(number, nonce=number)]))
            daemon.admin.Prune(admin_pb.PruneRequest(keep_blocks=5))
            self.assertEqual(daemon.account(address(26), number=26).account.nonce, 26)
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.account(address(1), number=10)
            self.assertEqual(caught.exception.code(), Code.OUT_OF_RANGE)
            self.assertRegex(caught.exception.details(), '30')

    def test_the_same_block_again_changes_nothing(self):
        again = self.state.ApplyStateChanges(request(3, [change(6, delete=True)]))
        self.assertTrue(again.already_applied)
        self.assertEqual(again.block.state_root, self.roots[3])

    def test_reads_name_their_block(self):
        past = self.daemon.account(address(6), number=2)
        self.assertTrue(past.exists)
        self.assertEqual((past.block.number, past.block.hash, past.block.state_root), (2, h(2), self.roots[2]))
        self.assertFalse(self.daemon.account(address(6)).exists)
        self.assertEqual(self.daemon.account(address(5), hash=h(1)).account.nonce, 1)
        self.assertEqual(self.daemon.account(address(5), state_root=self.roots[2]).account.nonce, 9)
        batch = self.state.GetAccounts(pb.GetAccountsRequest(addresses=[address(7), address(999), address(8)]))
        self.assertEqual([(e.address, e.exists) for e in batch.accounts],
                         [(address(7), True), (address(999), False), (address(8), True)])
        values = self.state.GetStorage(pb.GetStorageRequest(address=address(7), slots=[h(7), h(8)])).values
        self.assertEqual(list(values), [b'\7', b''])
        nodes = self.state.GetMultiProof(pb.GetMultiProofRequest(
            targets=[pb.ProofTarget(address=address(i), slots=[h(i)]) for i in (1, 2, 3)])).nodes
        self.assertEqual(len(set(nodes)), len(nodes))

    def test_pages_give_every_account_once(self):
        keys = []
        start = None
        while True:
            pages = self.state.StreamAccounts(pb.StreamAccountsRequest(start_key=start, page_size=7))
            first = next(pages)
            pages.cancel()
            keys += [account.key for account in first.accounts]
            if not first.next_key:
                break
            start = first.next_key
        whole = [a.key for page in self.state.StreamAccounts(pb.StreamAccountsRequest()) for a in page.accounts]
        self.assertEqual(keys, sorted(set(keys)))
        self.assertEqual(keys, whole)
        self.assertEqual(len(keys), 199)

    def test_a_dry_run_is_the_root_that_apply_gives(self):
        with Daemon() as daemon:
            changes = [change(7, slots=[pb.SlotChange(key=h(7), value=b'\5')]), change(8, reset_storage=True, nonce=3)]
            daemon.state.ApplyStateChanges(request(1, changes))
            more = [change(7, slots=[pb.SlotChange(key=h(7))]), change(9, balance=b'\1')]
            dry = daemon.state.ComputeStateRoot(pb.ComputeStateRootRequest(changes=more)).state_root
            self.assertNotEqual(daemon.head().state_root, dry)
            self.assertEqual(daemon.state.ApplyStateChanges(request(2, more)).block.state_root, dry)

    def test_reorganise_and_roll_back(self):
        with Daemon() as daemon:
            apply = daemon.state.ApplyStateChanges
            r1 = apply(request(1, [change(i, nonce=1) for i in range(1, 50)])).block.state_root
            apply(request(2, [change(5, nonce=9)]))
            apply(request(3, [change(6, delete=True)]))
            other = apply(request(3, [change(9, nonce=77)], block_hash=h(33), reorganize=True)).block
            self.assertEqual((other.number, daemon.head().hash), (3, h(33)))
            self.assertTrue(daemon.account(address(6)).exists)
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.account(address(6), hash=h(3))
            self.assertEqual(caught.exception.code(), Code.NOT_FOUND)
            back = daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=1))).block
            self.assertEqual((back.state_root, daemon.head().number), (r1, 1))

    def test_an_empty_daemon(self):
        with Daemon() as daemon:
            self.assertFalse(daemon.admin.GetStatus(admin_pb.GetStatusRequest()).has_blocks)
            self.assertFalse(daemon.account(address(1)).exists)
            self.assertEqual(list(daemon.proof(address(1), [h(1)]).storage_proofs[0].proof), [])

    def test_status_and_settings(self):
        status = self.daemon.admin.GetStatus(admin_pb.GetStatusRequest())
        self.assertEqual((status.head.number, status.head.state_root), (3, self.roots[3]))
        self.assertTrue(status.has_blocks and not status.read_only and status.version)
        flushed = self.daemon.admin.Flush(admin_pb.FlushRequest()).block
        self.assertTrue(flushed.durable)
        self.assertEqual(self.daemon.admin.GetStatus(admin_pb.GetStatusRequest()).flushed_number, 3)
        settings = {e.key: e for e in self.daemon.admin.GetConfig(admin_pb.GetConfigRequest()).entries}
        self.assertEqual(settings['persistence.mode'].value, 'batched')
        self.assertTrue(self.daemon.verify_data().ok)

    def test_a_checkpoint_is_a_whole_copy(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, 'copy')
            self.daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=copy))
            with Daemon(data=copy) as other:
                self.assertEqual(other.head().state_root, self.roots[3])
                self.assertTrue(other.verify_data().ok)


if __name__ == '__main__':
    unittest.main()

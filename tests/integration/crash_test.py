"""Kills the daemon in the middle of its work, over and over, and compares what comes back with a model.

The model is a list of every operation sent, each with the chain that it leads to. Whatever the daemon recovers must be
the chain after one of them, not before the last one that a reply called durable: head, roots, accounts, slots, proofs,
also of older blocks. Meanwhile others read, and what they get must be the state of one block, whole.

MPTD_TEST_SEED repeats a run as far as the moments of the kills allow; MPTD_KILLS says how many kills, in all modes.
"""
import dataclasses
import glob
import os
import random
import shutil
import signal
import threading
import unittest

import grpc

from client import SHORT, ZERO_HASH, Daemon, admin_pb, pb, proof_json, quantity, verify_offline, word

ACCOUNTS = 2000
SLOTS = 40
WINDOW = 32  # blocks served behind the head
KILLS = 3 if SHORT else 18  # in each of the three modes
if 'MPTD_KILLS' in os.environ:
    KILLS = -(-int(os.environ['MPTD_KILLS']) // 3)
# So small that flushes, evictions, pruning and new segments of the log are always under way.
FLAGS = ['--persistence.flush_blocks', '8', '--persistence.flush_interval', '100ms',
         '--persistence.batch_timeout_ms', '10ms', '--persistence.queue_bytes', '2MiB',
         '--persistence.log_segment_bytes', '1MiB', '--cache.node_cache_bytes', '1MiB',
         '--cache.row_cache_bytes', '1MiB', '--cache.block_cache_bytes', '1MiB',
         '--pruning.keep_recent_states', str(WINDOW), '--pruning.pruning_interval_blocks', '4']


@dataclasses.dataclass
class Block:
    """A block of the model; `state` maps addresses to (nonce, balance, {slot: value}) and is never changed."""
    number: int
    hash: bytes
    parent: 'Block | None'
    state: dict
    operation: int  # which led to it first
    root: bytes = b''  # once a reply has told it
    request: object = None

    def ancestor(self, number):
        block = self
        while block is not None and block.number > number:
            block = block.parent
        return block


class Model:
    def __init__(self, rnd):
        self.rnd = rnd
        self.heads = [Block(0, ZERO_HASH, None, {}, 0)]  # after each operation
        self.durable = 0  # the newest operation that cannot be lost
        self.by_hash = {}  # every block that was ever sent
        self.oldest = 1  # what was pruned stays so, also when the head goes back

    @property
    def head(self):
        return self.heads[-1]

    def random_change(self, address, old):
        """A change of one account and what becomes of it (None: gone)."""
        rnd = self.rnd
        change = pb.AccountChange(address=address)
        if old is not None and rnd.random() < 0.05:
            change.delete = True
            return change, None
        nonce, balance, slots = old or (1, 0, {})
        slots = dict(slots)
        if old is None or rnd.random() < 0.5:
            nonce = rnd.randrange(1, 1 << 60)
            change.nonce = nonce
        if rnd.random() < 0.7:
            balance = rnd.randrange(1 << rnd.choice((8, 90, 256)))
            change.balance = quantity(balance)
        if slots and rnd.random() < 0.05:
            change.reset_storage = True
            slots = {}
        if rnd.random() < 0.3:
            for key in rnd.sample(range(SLOTS), rnd.randrange(1, 6)):
                value = rnd.choice((0, 1, rnd.randrange(1 << 256)))
                change.slots.add(key=word(key), value=quantity(value))
                slots.pop(key, None)
                if value:
                    slots[key] = value
        return change, (nonce, balance, slots)

    def new_block(self, parent):
        """A block of random changes on `parent`, with its request; it becomes the head when it is sent."""
        rnd = self.rnd
        state = dict(parent.state)
        changes = []
        for i in rnd.sample(range(ACCOUNTS), rnd.randrange(1, 150)):
            address = i.to_bytes(20, 'big')
            change, becomes = self.random_change(address, state.get(address))
            changes.append(change)
            if becomes is None:
                del state[address]
            else:
                state[address] = becomes
        block = Block(parent.number + 1, rnd.randbytes(32), parent, state, len(self.heads))
        self.by_hash[block.hash] = block
        self.oldest = max(self.oldest, block.number - WINDOW)
        block.request = pb.ApplyStateChangesRequest(number=block.number, hash=block.hash, parent_hash=parent.hash,
                                                    changes=changes, reorganize=parent is not self.head)
        return block

    def settle(self, durable_number):
        """A reply said that block `durable_number` of the present chain cannot be lost."""
        block = self.head.ancestor(durable_number)
        if block is not None:
            self.durable = max(self.durable, block.operation)

    def recovered(self, number, block_hash):
        """The block that a restarted daemon may have as its head, or None; the model goes on from there."""
        for operation in range(len(self.heads) - 1, self.durable - 1, -1):
            block = self.heads[operation]
            if (block.number, block.hash) == (number, block_hash or ZERO_HASH):
                # Operations after it are gone for good.
                del self.heads[operation + 1:]
                self.durable = operation
                return block
        return None


class Life:
    """Of a daemon, until it is killed so many seconds after begin()."""

    def __init__(self, daemon, seconds):
        self.daemon = daemon
        self.acknowledged = 0  # blocks
        self.killed = threading.Event()
        self.timer = threading.Timer(seconds, self.kill)

    def begin(self):
        self.timer.start()

    def kill(self):
        self.killed.set()  # before: no call fails for another reason
        self.daemon.process.kill()

    def end(self):
        self.timer.join()
        self.daemon.process.wait()


class Reader(threading.Thread):
    """Reads at the head until the daemon is gone; what it gets must be as the model has it for the block it names."""

    def __init__(self, life, model, seed):
        super().__init__()
        self.life = life
        self.state = life.daemon.state
        self.model = model
        self.rnd = random.Random(seed)
        self.answers = 0
        self.wrong = None
        self.start()

    def run(self):
        try:
            while self.wrong is None:
                addresses = [i.to_bytes(20, 'big') for i in self.rnd.sample(range(ACCOUNTS), 30)]
                self.look(self.state.GetAccounts(pb.GetAccountsRequest(addresses=addresses)), addresses)
                self.answers += 1
        except grpc.RpcError as error:
            if not self.life.killed.is_set():
                self.wrong = error

    def look(self, answer, addresses):
        block = self.model.by_hash.get(answer.block.hash)
        if answer.block.number == 0:
            return
        if block is None:
            self.wrong = f'block {answer.block.number} was never sent'
            return
        for address, entry in zip(addresses, answer.accounts, strict=True):
            expected = block.state.get(address)
            got = (entry.account.nonce, entry.account.balance) if entry.exists else None
            if got != (expected and (expected[0], quantity(expected[1]))):
                self.wrong = f'account {address.hex()} of block {block.number}: {got} instead of {expected}'


class CrashTest(unittest.TestCase):
    def upkeep(self, daemon, model, choice):
        """Flushes, prunes or makes a checkpoint, none of which changes the head."""
        if choice < 0.5:
            daemon.admin.Flush(admin_pb.FlushRequest())
            model.durable = len(model.heads) - 1
        elif choice < 0.85:
            keep = model.rnd.randrange(8, WINDOW)
            model.oldest = max(model.oldest, model.head.number - keep)
            daemon.admin.Prune(admin_pb.PruneRequest(keep_blocks=keep))
        else:
            path = os.path.join(daemon.scratch, 'checkpoint')
            for name in glob.glob(path + '*'):
                shutil.rmtree(name)
            daemon.admin.Checkpoint(admin_pb.CheckpointRequest(directory=path))
            model.durable = len(model.heads) - 1

    def work(self, life, model, mode, at_once):
        """Sends operations until the daemon is gone. Its time begins at once, or with the first block that it has
        acknowledged: a slow machine would not get that far in each life."""
        daemon, rnd = life.daemon, model.rnd
        if at_once:
            life.begin()
        try:
            while True:
                parent = model.head
                choice = rnd.random()
                back = max(parent.number - rnd.randrange(1, 7), model.oldest)
                if choice < 0.02 and parent.number > max(back, 20):
                    target = parent.ancestor(back)
                    model.heads.append(target)
                    daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(hash=target.hash)))
                    model.durable = len(model.heads) - 1  # a rollback is durable on return
                    continue
                if choice < 0.06 and parent.number > max(back, 20):
                    parent = parent.ancestor(back)
                if 0.06 <= choice < 0.10:
                    self.upkeep(daemon, model, rnd.random())
                    continue
                block = model.new_block(parent)
                model.heads.append(block)
                answer = daemon.state.ApplyStateChanges(block.request)
                block.root = answer.block.state_root
                self.assertEqual(answer.block.hash, block.hash)
                self.assertFalse(answer.already_applied)
                if mode == 'sync':
                    self.assertEqual(answer.durable_number, block.number)
                model.settle(answer.durable_number)
                life.acknowledged += 1
                if life.acknowledged == 1 and not at_once:
                    life.begin()
        except grpc.RpcError:
            if not life.killed.is_set():
                raise

    def check_state(self, daemon, block, addresses):
        ref = pb.BlockRef(hash=block.hash)
        answer = daemon.state.GetAccounts(pb.GetAccountsRequest(addresses=addresses, block=ref))
        self.assertEqual(answer.block.state_root, block.root)
        for address, entry in zip(addresses, answer.accounts, strict=True):
            expected = block.state.get(address)
            self.assertEqual(entry.exists, expected is not None, address.hex())
            if expected is not None:
                self.assertEqual((entry.account.nonce, entry.account.balance), (expected[0], quantity(expected[1])))
        keys = [word(key) for key in range(SLOTS)]
        for address in addresses[:20]:
            got = daemon.state.GetStorage(pb.GetStorageRequest(address=address, slots=keys, block=ref))
            slots = (block.state.get(address) or (0, 0, {}))[2]
            self.assertEqual(list(got.values), [quantity(slots.get(key, 0)) for key in range(SLOTS)])

    def check_proof(self, daemon, block, address):
        keys = [3, 17, SLOTS + 1]
        got = daemon.proof(address, [word(key) for key in keys], hash=block.hash)
        nonce, balance, slots = block.state.get(address) or (0, 0, {})
        self.assertEqual((got.nonce, got.balance), (nonce, quantity(balance)))
        self.assertEqual([s.value for s in got.storage_proofs], [quantity(slots.get(key, 0)) for key in keys])
        accepted, said = verify_offline(block.root, proof_json(got))
        self.assertTrue(accepted, said)

    def check_recovered(self, daemon, model):
        head = daemon.head()
        lowest = model.heads[model.durable]
        block = model.recovered(head.number, head.hash)
        self.assertIsNotNone(block, f'head {head.number} {head.hash.hex()}; durable was {lowest.number}')
        if block.number == 0:
            return  # killed before the first block was there
        if block.root:
            self.assertEqual(head.state_root, block.root)
        else:
            block.root = head.state_root  # the block that was under way; its accounts and proofs are compared below
            again = daemon.state.ApplyStateChanges(block.request)
            self.assertTrue(again.already_applied)
            self.assertEqual(again.block.state_root, block.root)
        everyone = [i.to_bytes(20, 'big') for i in range(ACCOUNTS)]
        model.rnd.shuffle(everyone)
        self.check_state(daemon, block, everyone)
        self.check_proof(daemon, block, everyone[0])
        oldest = daemon.admin.GetStatus(admin_pb.GetStatusRequest()).oldest_served_number
        self.assertLessEqual(oldest, block.number)
        for number in range(oldest, block.number + 1):
            served = daemon.state.GetBlock(pb.GetBlockRequest(block=pb.BlockRef(number=number))).block
            older = block.ancestor(number)
            self.assertEqual(served.hash, older.hash, number)
            if older.root:
                self.assertEqual(served.state_root, older.root, number)
        for number in model.rnd.sample(range(oldest, block.number + 1), min(2, block.number + 1 - oldest)):
            older = block.ancestor(number)
            if older.root:
                self.check_state(daemon, older, everyone[:60])
                self.check_proof(daemon, older, everyone[1])
        report = daemon.verify_data()
        self.assertTrue(report.ok, report.difference)

    def kill_again_and_again(self, mode):
        seed = int(os.environ.get('MPTD_TEST_SEED') or random.SystemRandom().randrange(1 << 32))
        print(f'{mode}: MPTD_TEST_SEED={seed}', flush=True)
        rnd = random.Random(seed)
        model = Model(rnd)
        reads = acknowledged = 0
        with Daemon('--persistence.mode', mode, *FLAGS) as daemon:
            for kill in range(1, KILLS + 1):
                life = Life(daemon, rnd.uniform(0.02, 0.8))
                reader = Reader(life, model, rnd.random())
                self.work(life, model, mode, at_once=kill % 3 == 2)
                life.end()
                reader.join()
                self.assertIsNone(reader.wrong)
                reads += reader.answers
                acknowledged += life.acknowledged
                daemon.restart(signal.SIGKILL)
                self.check_recovered(daemon, model)
                if kill % 50 == 0:
                    print(f'{mode}: {kill} kills so far, head {model.head.number}', flush=True)
            print(f'{mode}: seed {seed}, {KILLS} kills, head {model.head.number}, {len(model.head.state)} accounts, '
                  f'{acknowledged} blocks acknowledged, {reads} answers read meanwhile', flush=True)
            self.assertGreaterEqual(acknowledged, KILLS - KILLS // 3 - 1)
            self.assertGreater(model.head.number, 0)

    def test_sync(self):
        self.kill_again_and_again('sync')

    def test_batched(self):
        self.kill_again_and_again('batched')

    def test_async(self):
        self.kill_again_and_again('async')


if __name__ == '__main__':
    unittest.main()

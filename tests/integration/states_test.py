"""The 1,340 pre- and post-states of consensus tests: applied, changed, read back, and rolled back, on one daemon."""
import unittest

from client import EMPTY_ROOT, SHORT, ZERO_HASH, Daemon, account_change, load, pb, quantity, unhex, word


def is_empty(fields):
    return int(fields['nonce'], 16) == 0 and int(fields['balance'], 16) == 0 and fields['code'] in ('0x', '')


def slots_of(fields):
    return {word(key): quantity(value) for key, value in fields.get('storage', {}).items() if quantity(value)}


def difference(pre, post):
    """What a block must change to turn `pre` into `post`."""
    changes = {address: {'delete': True} for address in pre if address not in post}
    for address, new in post.items():
        old = pre.get(address)
        if old is None:
            changes[address] = new
            continue
        change = {}
        if unhex(old['code']) != unhex(new['code']):
            change.update(code=new['code'], set_code=True)
        change.update({name: new[name] for name in ('nonce', 'balance') if int(old[name], 16) != int(new[name], 16)})
        before, after = slots_of(old), slots_of(new)
        slots = {key.hex(): value.hex() for key, value in after.items() if before.get(key) != value}
        slots.update({key.hex(): '' for key in before if key not in after})
        if slots:
            change['storage'] = slots
        if change:
            changes[address] = change
    return changes


class StatesTest(unittest.TestCase):
    def check_state(self, daemon, accounts):
        answer = daemon.state.GetAccounts(pb.GetAccountsRequest(addresses=[unhex(a) for a in accounts]))
        for entry, (address, fields) in zip(answer.accounts, accounts.items(), strict=True):
            self.assertTrue(entry.exists, address)
            self.assertEqual(entry.account.nonce, int(fields['nonce'], 16), address)
            self.assertEqual(entry.account.balance, quantity(fields['balance']), address)
            slots = slots_of(fields)
            if slots:
                got = daemon.state.GetStorage(pb.GetStorageRequest(address=unhex(address), slots=list(slots)))
                self.assertEqual(list(got.values), list(slots.values()), address)

    def run_case(self, daemon, serial, case, base):
        keep = any(is_empty(fields) for state in (case['pre'], case['post']) for fields in state.values())
        pre_root, post_root = unhex(case['pre_root']), unhex(case['post_root'])
        pre_hash, post_hash = (2 * serial).to_bytes(32, 'big'), (2 * serial + 1).to_bytes(32, 'big')
        # Each case starts from the empty state again, half of them by way of a reorganisation.
        pre = daemon.apply(2, pre_hash, base, case['pre'], keep_empty_accounts=keep, reorganize=True)
        self.assertEqual(pre.block.state_root, pre_root)
        changes = difference(case['pre'], case['post'])
        dry = daemon.state.ComputeStateRoot(pb.ComputeStateRootRequest(
            changes=[account_change(a, fields) for a, fields in changes.items()], keep_empty_accounts=keep))
        self.assertEqual(dry.state_root, post_root)
        post = daemon.apply(3, post_hash, pre_hash, changes, keep_empty_accounts=keep)
        self.assertEqual(post.block.state_root, post_root)
        self.check_state(daemon, case['post'])
        back = daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(hash=pre_hash))).block
        self.assertEqual(back.state_root, pre_root)
        self.check_state(daemon, case['pre'])
        if serial % 2 == 0:
            gone = daemon.state.RollbackTo(pb.RollbackToRequest(block=pb.BlockRef(number=1))).block
            self.assertEqual(gone.state_root, EMPTY_ROOT)

    def test_all_states(self):
        cases = load('blockchain_states.json.gz')
        self.assertEqual(len(cases), 1340)
        base = b'\xba' * 32
        with Daemon() as daemon:
            self.assertEqual(daemon.apply(1, base, ZERO_HASH, {}).block.state_root, EMPTY_ROOT)
            for serial, case in enumerate(cases[::10] if SHORT else cases, start=1):
                with self.subTest(file=case['file'], name=case['name']):
                    self.run_case(daemon, serial, case, base)
            self.assertTrue(daemon.verify_data().ok)


if __name__ == '__main__':
    unittest.main()

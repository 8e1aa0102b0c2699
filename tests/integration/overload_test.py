"""More load than the daemon can take, and readers that do not read.

What it takes stays bounded: memory by limits.max_memory_bytes, calls that wait by the queues that its metrics show. What
it accepts succeeds before its deadline, and the rest is refused with RESOURCE_EXHAUSTED and a time to wait.

MPTD_OVERLOAD_SECONDS (5) is how long the load lasts; scripts/overload runs it for longer and prints figures.
"""
import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

import grpc

from client import PATIENCE, Daemon, error_details, free_port, pb, pb_grpc, with_sanitizer

SECONDS = float(os.environ.get('MPTD_OVERLOAD_SECONDS') or 5)
# What a sanitizer needs itself is no part of what is tested.
MEMORY = (4096 if with_sanitizer() else 512) << 20
RUNNING, WAITING, ROOTS = 16, 4, 2
# Connections times calls that each keeps open: 48 times what may run.
CONNECTIONS, IN_FLIGHT = 24, 32
ACCOUNTS = 4000
LIMITS = (f'--server.max_concurrent_calls={RUNNING}', f'--server.max_waiting_calls={WAITING}',
          f'--limits.max_root_calls={ROOTS}', f'--limits.max_memory_bytes={MEMORY}', '--persistence.queue_bytes=4MiB')


def address(i):
    return i.to_bytes(20, 'big')


def fill(daemon, accounts=ACCOUNTS):
    """Block 1: so many accounts."""
    daemon.state.ApplyStateChanges(pb.ApplyStateChangesRequest(
        number=1, changes=[pb.AccountChange(address=address(i), nonce=1, balance=b'\1') for i in range(1, accounts + 1)]))


def metrics(daemon):
    with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}/metrics', timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(' ') for line in lines if line[:1] != '#')}


def most_resident(daemon):
    with open(f'/proc/{daemon.process.pid}/status', encoding='ascii') as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmHWM:'))


def channel_to(daemon, *options):
    return grpc.insecure_channel(f'127.0.0.1:{daemon.port}', options=[
        ('grpc.use_local_subchannel_pool', 1), ('grpc.max_receive_message_length', -1),
        ('grpc.max_send_message_length', -1), *options])


def refused(daemon, limit):
    return metrics(daemon)[f'mptd_limit_refusals_total{{limit="{limit}"}}']


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'still not after {PATIENCE} s: {what}')
        time.sleep(0.05)


class Load:
    """Keeps calls of all kinds going on many connections until it is told to stop, and counts how they end."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.stop = threading.Event()
        self.ends = collections.Counter()
        self.slowest = 0.0
        self.wrong = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(CONNECTIONS)]
        self.threads.append(threading.Thread(target=self.follow_the_head, daemon=True))

    def calls(self, channel):
        """As bytes: what these clients do is to cost them little beside what it costs the daemon."""
        keys = [address(i) for i in range(1, ACCOUNTS + 1)]
        code = bytes(range(256)) * 400
        far = [pb.AccountChange(address=address(i), code=code) for i in range(10)]
        requests = {
            'GetMultiProof': pb.GetMultiProofRequest(targets=[pb.ProofTarget(address=key) for key in keys[::4]]),
            'ComputeStateRoot': pb.ComputeStateRootRequest(
                changes=[pb.AccountChange(address=key, nonce=2) for key in keys]),
            'GetAccounts': pb.GetAccountsRequest(addresses=keys),
            'ApplyStateChanges': pb.ApplyStateChangesRequest(number=1_000_000, changes=far)}
        return [(kind, channel.unary_unary('/mptd.v1.StateService/' + kind).future, request.SerializeToString())
                for kind, request in requests.items()]

    def run(self, which):
        channel = channel_to(self.daemon)
        kinds = self.calls(channel)
        room = threading.Semaphore(IN_FLIGHT)
        number = which
        try:
            while not self.stop.is_set():
                room.acquire()
                kind, start, request = kinds[number % len(kinds)]
                number += 1
                begun = time.monotonic()
                call = start(request, timeout=PATIENCE)
                call.add_done_callback(lambda done, kind=kind, begun=begun: (self.ended(kind, done, begun),
                                                                            room.release()))
            for _ in range(IN_FLIGHT):
                room.acquire()
        finally:
            channel.close()

    def ended(self, kind, call, begun):
        code = call.code()
        with self.lock:
            self.ends[kind, code] += 1
            if code == grpc.StatusCode.OK:
                self.slowest = max(self.slowest, time.monotonic() - begun)
            elif code == grpc.StatusCode.RESOURCE_EXHAUSTED:
                if 'RetryInfo' not in error_details(call):
                    self.wrong.append(f'{kind}: refused without a time to wait: {call.details()}')
            # A block that is far ahead of the head has no parent.
            elif (kind, code) != ('ApplyStateChanges', grpc.StatusCode.FAILED_PRECONDITION):
                self.wrong.append(f'{kind}: {code} {call.details()}')

    def follow_the_head(self):
        """One client whose blocks do fit; it tries again as it is told."""
        with channel_to(self.daemon) as channel:
            stub = pb_grpc.StateServiceStub(channel)
            number = 2
            while not self.stop.is_set():
                call = stub.ApplyStateChanges.future(pb.ApplyStateChangesRequest(
                    number=number, changes=[pb.AccountChange(address=address(number), nonce=number)]), timeout=PATIENCE)
                call.exception()
                if call.code() == grpc.StatusCode.OK:
                    number += 1
                else:
                    self.stop.wait(0.05)
                self.ended('next block', call, time.monotonic())
            self.head = number - 1

    def go(self, seconds, look):
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end or not self.enough():
            look()
            self.stop.wait(0.1)
            if time.monotonic() > end + PATIENCE:
                break
        self.stop.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE)

    def enough(self):
        """Every kind has been answered and something refused, however slow the machine is."""
        with self.lock:
            answered = {kind for (kind, code) in self.ends if code != grpc.StatusCode.RESOURCE_EXHAUSTED}
            return len(answered) == 5 and self.count(grpc.StatusCode.RESOURCE_EXHAUSTED) > 0

    def count(self, *codes):
        return sum(count for (_, code), count in self.ends.items() if code in codes)


class OverloadTest(unittest.TestCase):
    def test_ten_times_what_it_can_take(self):
        with Daemon(*LIMITS) as daemon:
            fill(daemon)
            load = Load(daemon)
            peaks = collections.Counter()

            def look():
                for name, value in metrics(daemon).items():
                    if name.startswith(('mptd_grpc_waiting_calls', 'mptd_grpc_running_calls', 'mptd_grpc_root_calls',
                                        'mptd_grpc_connections')):
                        peaks[name] = max(peaks[name], value)

            load.go(SECONDS, look)
            most = most_resident(daemon)
            for (kind, code), count in sorted(load.ends.items(), key=str):
                print(f'{kind} {code.name}: {count}')
            for name, value in sorted(peaks.items()):
                print(f'at most {value:.0f} {name}')
            print(f'{load.count(grpc.StatusCode.RESOURCE_EXHAUSTED)} refused, slowest accepted call '
                  f'{load.slowest:.2f} s, resident {most >> 20} MiB of {MEMORY >> 20}')
            self.assertEqual(load.wrong[:5], [])
            self.assertTrue(load.enough(), load.ends)
            # Nobody waited in a queue that is longer than it may be.
            self.assertLessEqual(peaks['mptd_grpc_running_calls'], RUNNING)
            self.assertLessEqual(peaks['mptd_grpc_root_calls'], ROOTS)
            for pool in ('read', 'write', 'proof'):
                self.assertLessEqual(peaks[f'mptd_grpc_waiting_calls{{pool="{pool}"}}'], WAITING)
            if not with_sanitizer():
                self.assertLess(most, MEMORY)
            # It is as it was before.
            self.assertEqual(daemon.head().number, load.head)
            wait_for(lambda: metrics(daemon)['mptd_grpc_running_calls'] == 0, 'all calls are over')
            self.assertTrue(daemon.verify_data().ok)

    def test_messages_that_are_too_long_take_no_memory(self):
        with Daemon('--server.max_message_bytes=1MiB', f'--limits.max_memory_bytes={MEMORY}') as daemon:
            fill(daemon, 10)
            with channel_to(daemon) as channel:
                stub = pb_grpc.StateServiceStub(channel)
                change = pb.AccountChange(address=address(1), code=bytes(16 << 20))
                request = pb.ApplyStateChangesRequest(number=2, changes=[change])
                # gRPC looks at the size of a message when it has all of it.
                for _ in range(8):
                    with self.assertRaises(grpc.RpcError) as refused_call:
                        stub.ApplyStateChanges(request, timeout=PATIENCE)
                    self.assertEqual(refused_call.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertEqual(daemon.head().number, 1)
            print(f'resident {most_resident(daemon) >> 20} MiB of {MEMORY >> 20}')
            if not with_sanitizer():
                self.assertLess(most_resident(daemon), MEMORY)


    def test_large_messages_on_many_connections_at_once(self):
        # Few, of which one is taken while others arrive; and more together than the limit.
        for connections, size in ((2, 64 << 20), (32, 24 << 20)):
            with self.subTest(connections=connections), Daemon(f'--limits.max_memory_bytes={MEMORY}') as daemon:
                code = bytes(24_000)
                body = pb.ApplyStateChangesRequest(number=1, changes=[
                    pb.AccountChange(address=address(i), code=code) for i in range(size // 24_040)]).SerializeToString()
                ends = collections.Counter()
                lock = threading.Lock()

                def send(daemon=daemon, body=body, ends=ends, lock=lock):
                    with channel_to(daemon) as channel:
                        call = channel.unary_unary('/mptd.v1.StateService/ApplyStateChanges')
                        for _ in range(3):
                            try:
                                call(body, timeout=PATIENCE)
                                end = grpc.StatusCode.OK
                            except grpc.RpcError as error:
                                end = error.code()
                            with lock:
                                ends[end] += 1

                threads = [threading.Thread(target=send) for _ in range(connections)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                most = most_resident(daemon)
                print(f'{connections} connections: resident {most >> 20} MiB of {MEMORY >> 20}, {dict(ends)}')
                if not with_sanitizer():
                    self.assertLess(most, MEMORY)
                # With a connection that gRPC gives up, its call ends as UNAVAILABLE.
                self.assertLessEqual(set(ends), {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED,
                                                 grpc.StatusCode.UNAVAILABLE})
                # Who asks for little is answered.
                daemon.account(address(1))


class AdminConnectionsTest(unittest.TestCase):
    def test_the_admin_address_has_a_limit_of_its_own(self):
        port = free_port()
        with Daemon(f'--server.admin_listen=127.0.0.1:{port}', '--server.max_connections=5') as daemon:
            with contextlib.ExitStack() as crowd:
                for _ in range(20):
                    crowd.enter_context(socket.create_connection(('127.0.0.1', port)))
                wait_for(lambda: refused(daemon, 'max_connections') >= 15, 'the newest are closed')
                self.assertEqual(daemon.head().number, 0)
                wait_for(lambda: metrics(daemon)['mptd_grpc_connections'] <= 10, 'both addresses keep the limit')


class DeadReadersTest(unittest.TestCase):
    """Meanwhile another client's blocks and reads go on."""

    def begin(self, *flags):
        self.daemon = Daemon('--limits.max_stream_stall=1s', '--limits.max_watch_backlog=500', '--limits.max_streams=8',
                             '--limits.max_pinned_views=4', *flags)
        self.daemon.start()
        self.addCleanup(self.daemon.close)
        fill(self.daemon, 20_000)
        self.number = 1

    def work(self, blocks=1):
        for _ in range(blocks):
            self.number += 1
            self.daemon.state.ApplyStateChanges(pb.ApplyStateChangesRequest(
                number=self.number, changes=[pb.AccountChange(address=address(1), nonce=self.number)]),
                timeout=PATIENCE)
        self.assertEqual(self.daemon.account(address(1)).account.nonce, self.number)

    def no_streams_are_left(self):
        self.work()
        return metrics(self.daemon)['mptd_grpc_open_streams'] == 0

    def no_view_is_held(self):
        # The place of a stream is free a moment before its view is.
        wait_for(lambda: metrics(self.daemon)['mptd_grpc_pinned_views'] == 0, 'no view is held')

    def test_a_client_that_never_reads(self):
        self.begin()
        # A window of 64 KiB that does not grow.
        with channel_to(self.daemon, ('grpc.http2.bdp_probe', 0)) as channel:
            stub = pb_grpc.StateServiceStub(channel)
            blocks = stub.StreamBlocks(pb.StreamBlocksRequest(), timeout=PATIENCE)
            wait_for(lambda: metrics(self.daemon)['mptd_grpc_open_streams'] == 1, 'a stream of blocks is open')
            accounts = stub.StreamAccounts(pb.StreamAccountsRequest(page_size=5000), timeout=PATIENCE)
            # Its pages are many: on a slow machine it has been given up before anybody sees it.
            wait_for(lambda: metrics(self.daemon)['mptd_grpc_open_streams'] == 2 or
                     refused(self.daemon, 'max_stream_stall') == 1, 'a stream of accounts is open, too')
            end = time.monotonic() + PATIENCE
            while metrics(self.daemon)['mptd_grpc_open_streams'] > 0:
                self.work(200)
                self.assertLess(time.monotonic(), end, 'the streams of a dead reader stay open')
            with self.assertRaises(grpc.RpcError):
                for _ in accounts:
                    pass
            with self.assertRaises(grpc.RpcError):
                for _ in blocks:
                    pass
        self.no_view_is_held()
        wait_for(lambda: refused(self.daemon, 'max_stream_stall') >= 1, 'the stall is counted')
        wait_for(lambda: refused(self.daemon, 'max_stream_stall') + refused(self.daemon, 'max_watch_backlog') == 2,
                 'both streams are counted')

    def test_a_reader_that_goes_on_is_told_why(self):
        self.begin()
        with channel_to(self.daemon, ('grpc.http2.bdp_probe', 0)) as channel:
            stub = pb_grpc.StateServiceStub(channel)
            accounts = stub.StreamAccounts(pb.StreamAccountsRequest(page_size=5000), timeout=PATIENCE)
            next(accounts)
            wait_for(lambda: metrics(self.daemon)['mptd_grpc_open_streams'] == 0 or
                     refused(self.daemon, 'max_stream_stall') == 1, 'the stream is given up')
            try:
                for _ in accounts:
                    pass
                self.fail('the stream ended as if it were complete')
            except grpc.RpcError as error:
                # In time for the reason, or, on a slow machine, cut off.
                self.assertIn(error.code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED))
                if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self.assertEqual(error_details(error)['ErrorInfo'].reason, 'STREAM_STALLED')

    def test_a_client_that_stops_in_the_middle(self):
        self.begin()
        reader = subprocess.Popen([sys.executable, '-B', __file__, 'reader', str(self.daemon.port)],
                                  stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(reader.stdout.readline(), 'a page\n')
            wait_for(self.no_streams_are_left, 'the stream of a stopped client has ended')
            wait_for(lambda: refused(self.daemon, 'max_stream_stall') >= 1, 'the stall is counted')
            self.no_view_is_held()
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()

    def test_connections_that_say_nothing(self):
        self.begin('--server.handshake_timeout=1s', '--server.max_connections=40')
        # The daemon knows which connection is the oldest when it has looked at it once.
        wait_for(lambda: metrics(self.daemon)['mptd_grpc_connections'] > 0, 'our own connection is known')
        sockets = []
        try:
            for i in range(200):
                connection = socket.create_connection(('127.0.0.1', self.daemon.port), timeout=PATIENCE)
                sockets.append(connection)
                if i % 2 == 0:
                    with contextlib.suppress(ConnectionError):  # it may have hung up already
                        connection.sendall(b'PRI * HTTP/2.0\r\n')
                if i % 20 == 0:
                    self.work()
            self.work(20)
            # The daemon hangs up, on all of them.
            for connection in sockets:
                with contextlib.suppress(ConnectionError):
                    while connection.recv(4096):
                        pass
        finally:
            for connection in sockets:
                connection.close()
        wait_for(lambda: metrics(self.daemon)['mptd_grpc_connections'] <= 2, 'the connections are gone')
        self.work(20)
        # And others can connect again.
        with channel_to(self.daemon) as channel:
            pb_grpc.StateServiceStub(channel).GetStateRoot(pb.GetStateRootRequest(), timeout=PATIENCE,
                                                           wait_for_ready=True)


def read_a_page(port):
    """A client of its own: reads a page, says so, and stops."""
    with grpc.insecure_channel(f'127.0.0.1:{port}', options=[('grpc.http2.bdp_probe', 0)]) as channel:
        stub = pb_grpc.StateServiceStub(channel)
        for _ in stub.StreamAccounts(pb.StreamAccountsRequest(page_size=100), timeout=PATIENCE):
            print('a page', flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == '__main__':
    if sys.argv[1:2] == ['reader']:
        read_a_page(int(sys.argv[2]))
    else:
        unittest.main()

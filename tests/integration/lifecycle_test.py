"""How the daemon starts, refuses to start, and stops."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

import grpc

from client import MPTD, PATIENCE, ZERO_HASH, Daemon, eventually, free_port, pb, start_process

NOBODY = 65534


def apply_one(daemon, number):
    change = pb.AccountChange(address=number.to_bytes(20, 'big'), nonce=number)
    return daemon.apply(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big'), [change])


class RefusalTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def refuses(self, data, *flags, words=(), port=None, http_port=None, **options):
        """A daemon on `data` ends by itself, not with 0 and not by a signal, having said all of `words`."""
        log = os.path.join(self.scratch, 'log')
        process = start_process(data, port or free_port(), http_port or free_port(), flags, log, **options)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.fail('the daemon started')
        with open(log, encoding='utf-8') as file:
            said = file.read()
        os.unlink(log)
        self.assertGreater(code, 0, said)
        for expected in words:
            self.assertIn(expected.lower(), said.lower())
        return said

    def test_a_second_daemon_on_the_same_folder(self):
        with Daemon() as daemon:
            root = apply_one(daemon, 1).block.state_root
            self.refuses(daemon.data, words=[daemon.data, 'another process'])
            self.assertEqual(daemon.head().state_root, root)
            apply_one(daemon, 2)

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.refuses(os.path.join(self.scratch, 'a'), words=[str(port)], port=port)
            self.refuses(os.path.join(self.scratch, 'b'), words=[str(port)], http_port=port)

    def test_a_newer_format(self):
        with Daemon() as daemon:
            root = apply_one(daemon, 1).block.state_root
            daemon.stop()
            path = os.path.join(daemon.data, 'FORMAT')
            with open(path, encoding='utf-8') as file:
                text = file.read()
            number = ''.join(c for c in text if c.isdigit())
            with open(path, 'w', encoding='utf-8') as file:
                file.write(text.replace(number, str(int(number) + 9)))
            self.refuses(daemon.data, words=['format', 'newer'])
            with open(path, 'w', encoding='utf-8') as file:
                file.write(text)
            daemon.start()
            self.assertEqual(daemon.head().state_root, root)

    def test_a_file_in_place_of_the_folder(self):
        path = os.path.join(self.scratch, 'file')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('not a folder')
        self.refuses(path, words=[path])

    def test_a_folder_that_cannot_be_written(self):
        os.chmod(self.scratch, 0o755)
        data = os.path.join(self.scratch, 'data')
        os.mkdir(data)
        os.chmod(data, 0o555)
        if os.geteuid() != 0:
            self.refuses(data, words=[data])
            return
        # Nothing is read-only for root, so the daemon runs as nobody, from a place that nobody may read.
        program = os.path.join(self.scratch, 'mptd')
        shutil.copy(MPTD, program)
        os.chmod(program, 0o755)
        self.refuses(data, words=[data], program=program, user=NOBODY, group=NOBODY, extra_groups=[], cwd='/')

    def test_wrong_settings(self):
        data = os.path.join(self.scratch, 'data')
        self.refuses(data, '--persistence.mode', 'sometimes', words=['persistence.mode', 'sometimes'])
        self.refuses(data, '--no-such-flag', words=['no-such-flag'])
        self.refuses(data, '--config', os.path.join(self.scratch, 'absent.yaml'), words=['absent.yaml'])
        self.assertFalse(os.path.exists(data), 'made by a daemon that refused to start')
        self.refuses(data, '--genesis', 'mainet', words=['mainet', 'mainnet'])

    def test_another_networks_genesis(self):
        with Daemon('--genesis', 'sepolia') as daemon:
            head = daemon.head()
            daemon.stop()
            self.refuses(daemon.data, '--genesis', 'holesky', words=['genesis'])
            daemon.start()
            self.assertEqual(daemon.head(), head)

    def test_a_genesis_that_is_wrong(self):
        path = os.path.join(self.scratch, 'bad.json')
        with open(path, 'w', encoding='utf-8') as file:
            file.write('{"alloc": {"0x01": {}}}')
        self.refuses(os.path.join(self.scratch, 'data'), '--genesis', path, words=['alloc.0x01'])


class StopTest(unittest.TestCase):
    def stops_without_loss(self, mode, sig):
        with Daemon('--persistence.mode', mode) as daemon:
            applied = []
            stopped = []

            def work():
                number = 0
                try:
                    while True:
                        number += 1
                        applied.append(apply_one(daemon, number).block)
                except grpc.RpcError as error:
                    stopped.append(error)

            worker = threading.Thread(target=work)
            worker.start()
            eventually(lambda: len(applied) >= 20 or not worker.is_alive())
            self.assertEqual(daemon.stop(sig), 0, daemon.log())
            worker.join()
            self.assertIn(stopped[0].code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))
            daemon.start()
            head = daemon.head()
            # What was answered is there; the call that was cut off may have been applied or not.
            self.assertIn(head.number, (applied[-1].number, applied[-1].number + 1))
            self.assertEqual(daemon.account(applied[-1].number.to_bytes(20, 'big')).account.nonce, applied[-1].number)
            self.assertTrue(daemon.verify_data().ok)

    def test_termination_drains_in_every_mode(self):
        for mode in ('sync', 'batched', 'async'):
            with self.subTest(mode):
                self.stops_without_loss(mode, signal.SIGTERM)

    def test_interrupt_is_the_same(self):
        self.stops_without_loss('async', signal.SIGINT)

    def test_open_streams_do_not_hold_it_up(self):
        with Daemon('--server.shutdown_grace', '2s') as daemon:
            apply_one(daemon, 1)
            stream = daemon.state.StreamBlocks(pb.StreamBlocksRequest(from_number=1))
            self.assertEqual(next(stream).block.number, 1)
            self.assertEqual(daemon.stop(), 0, daemon.log())  # the stream would go on for ever
            with self.assertRaises(grpc.RpcError):
                next(stream)


class StartTest(unittest.TestCase):
    def test_version_and_help(self):
        for flag in ('--version', '--help'):
            done = subprocess.run([MPTD, flag], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout)

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory(prefix='mptd-test-') as folder:
            path = os.path.join(folder, 'mptd.sock')
            with Daemon() as daemon:
                apply_one(daemon, 1)
                daemon.stop()
                # The last of the flags wins or all are listened on: either way the socket answers.
                daemon.process = start_process(daemon.data, free_port(), free_port(), ['--listen', 'unix:' + path],
                                               daemon.log_path)
                daemon.connect('unix:' + path)
                self.assertEqual(daemon.head().number, 1)

    def test_http_says_how_it_is(self):
        with Daemon() as daemon:
            apply_one(daemon, 1)
            with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}/metrics', timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 200)
                self.assertIn(b'# TYPE ', answer.read())
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}/nothing', timeout=PATIENCE)
            self.assertEqual(caught.exception.code, 404)

    def test_the_first_block_may_have_any_number(self):
        with Daemon() as daemon:
            change = pb.AccountChange(address=b'\1' * 20, nonce=1)
            daemon.apply(17_000_000, b'\7' * 32, b'\6' * 32, [change])
            daemon.restart(signal.SIGTERM)
            self.assertEqual(daemon.head().number, 17_000_000)
            self.assertNotEqual(daemon.head().state_root, ZERO_HASH)


if __name__ == '__main__':
    unittest.main()

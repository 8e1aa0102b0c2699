"""What the daemon tells the service manager, over a socket that stands for systemd's."""
import os
import shutil
import signal
import socket
import tempfile
import unittest

from client import PATIENCE, free_port, start_process


class ServiceManagerTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.addCleanup(shutil.rmtree, self.scratch)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        path = os.path.join(self.scratch, 'notify')
        self.socket.bind(path)
        self.socket.settimeout(PATIENCE)
        for name, value in (('NOTIFY_SOCKET', path), ('WATCHDOG_USEC', '60000000')):
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)

    def until(self, *expected):
        """Reads messages until all of `expected` have come, in that order; returns the lines of the last one."""
        for field in expected:
            lines = []
            while field not in lines:
                lines = self.socket.recv(4096).decode().split('\n')
        return lines

    def test_a_life(self):
        port = free_port()
        process = start_process(os.path.join(self.scratch, 'data'), port, free_port(), [],
                                os.path.join(self.scratch, 'log'))
        try:
            self.assertIn(f'STATUS=serving on 127.0.0.1:{port}', self.until('READY=1'))
            with socket.create_connection(('127.0.0.1', port)):
                pass
            self.until('WATCHDOG=1', 'WATCHDOG=1')
            process.send_signal(signal.SIGHUP)
            self.until('RELOADING=1', 'READY=1', 'WATCHDOG=1')
            process.send_signal(signal.SIGTERM)
            self.until('STOPPING=1')
            self.assertEqual(process.wait(PATIENCE), 0)
        finally:
            process.kill()
            process.wait()


if __name__ == '__main__':
    unittest.main()

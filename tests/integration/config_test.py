"""The settings of a running daemon: their schema, reading them anew, and the limit of memory."""
import json
import os
import signal
import subprocess
import time
import unittest

import grpc
import jsonschema
import yaml

from client import (MPTD, PATIENCE, SOURCE, Daemon, admin_pb, environment, error_details, eventually, pb,
                    with_sanitizer)


def printed(*flags):
    return subprocess.run([MPTD, *flags], capture_output=True, text=True, timeout=PATIENCE, check=True,
                          env=environment()).stdout


class SchemaTest(unittest.TestCase):
    def setUp(self):
        schema = json.loads(printed('--print-config-schema'))
        jsonschema.Draft7Validator.check_schema(schema)
        self.validator = jsonschema.Draft7Validator(schema)

    def test_what_the_daemon_prints_and_the_example_are_valid(self):
        with open(os.path.join(SOURCE, 'config/mptd.example.yaml'), encoding='utf-8') as file:
            example = file.read()
        for text in (printed('--print-config'), printed('--preset', 'low_memory', '--print-config'), example):
            self.validator.validate(yaml.safe_load(text))

    def test_what_the_daemon_refuses_is_invalid(self):
        for text in ('nothing: {}', 'server: {nothing: 1}', 'persistence: {mode: fast}', 'trie: {rlp_version: "2"}',
                     'persistence: {batch_size: 0}', 'server: {listen: []}', 'cache: {row_cache_bytes: 5MB}',
                     'preset: fast', 'server: {shutdown_grace: 5}'):
            self.assertFalse(self.validator.is_valid(yaml.safe_load(text)), text)


class ReloadTest(unittest.TestCase):
    def test_by_call_and_by_signal(self):
        daemon = Daemon()
        path = os.path.join(daemon.scratch, 'mptd.yaml')

        def write(text):
            with open(path, 'w', encoding='utf-8') as file:
                file.write(text)

        write('limits: {max_accounts_per_transition: 5}\n')
        daemon.flags = ('--config', path)
        with daemon:
            write('limits: {max_accounts_per_transition: 1}\npersistence: {flush_blocks: 7}\n')
            answer = daemon.admin.ReloadConfig(admin_pb.ReloadConfigRequest())
            self.assertEqual(list(answer.changed), ['limits.max_accounts_per_transition'])
            self.assertEqual(list(answer.restart_needed), ['persistence.flush_blocks'])
            two = [pb.AccountChange(address=bytes([i]) * 20, nonce=1) for i in (1, 2)]
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.apply(1, b'', b'', two)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

            write('limits:\n  max_accounts_per_transition: many\n')
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.admin.ReloadConfig(admin_pb.ReloadConfigRequest())
            self.assertIn('mptd.yaml:2:', caught.exception.details())

            write('limits: {max_accounts_per_transition: 2}\n')
            daemon.process.send_signal(signal.SIGHUP)
            self.assertTrue(eventually(lambda: self.value(daemon) == '2'))
            self.assertTrue(daemon.logs('config_refused'))

    @staticmethod
    def value(daemon):
        entries = daemon.admin.GetConfig(admin_pb.GetConfigRequest()).entries
        return next(e.value for e in entries if e.key == 'limits.max_accounts_per_transition')


@unittest.skipIf(with_sanitizer(), 'the limit is far below what such a build takes')
class MemoryTest(unittest.TestCase):
    def test_the_limit_is_kept_under_load(self):
        # Without a limit these blocks take more than 400 MiB. There is room for a few between where calls are refused and the
        # limit, should the thread that looks at the memory not get its turn.
        limit, blocks = 384 << 20, 24
        with Daemon('--max-memory', str(limit)) as daemon:
            code = os.urandom(20_000)
            refused, number = 0, 0
            end = time.monotonic() + PATIENCE
            # When blocks come slowly, caches that shrink may be enough, and it may take more of them.
            while (number < blocks or not refused and 'memory_short' not in daemon.whole_log()) and time.monotonic() < end:
                changes = [pb.AccountChange(address=(number * 200 + i).to_bytes(20, 'big'), nonce=1,
                                            code=i.to_bytes(2, 'big') + number.to_bytes(2, 'big') + code)
                           for i in range(200)]
                try:
                    daemon.state.ApplyStateChanges(pb.ApplyStateChangesRequest(number=number + 1, changes=changes))
                    number += 1
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, error.details())
                    self.assertIn('RetryInfo', error_details(error))
                    refused += 1
                    time.sleep(0.2)
            with open(f'/proc/{daemon.process.pid}/status', encoding='ascii') as file:
                most = next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmHWM:'))
            print(f'resident {most >> 20} MiB of {limit >> 20}, {number} blocks, {refused} refused')
            self.assertGreaterEqual(number, blocks, daemon.log())
            self.assertTrue(refused > 0 or 'memory_short' in daemon.whole_log())
            self.assertLess(most, limit)


if __name__ == '__main__':
    unittest.main()

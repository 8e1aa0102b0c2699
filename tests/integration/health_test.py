"""Health over HTTP and gRPC, the log, request ids and traces, on the real daemon."""
import glob
import json
import os
import re
import shutil
import signal
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import grpc

from client import PATIENCE, PATIENT, Daemon, admin_pb, block_request, eventually, health_grpc, health_pb, pb

TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
CHECKS = ['corruption', 'writable', 'queue', 'last_sync', 'storage', 'disk_space', 'memory', 'hashing', 'log']


def http(daemon, path):
    """The status and the text of an answer."""
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}{path}', timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def grpc_health(daemon, service):
    return health_grpc.HealthStub(daemon.channel).Check(health_pb.HealthCheckRequest(service=service)).status


def apply_block(daemon, number, metadata=()):
    change = pb.AccountChange(address=number.to_bytes(20, 'big'), nonce=number)
    request = block_request(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big'), [change])
    return daemon.state.ApplyStateChanges.with_call(request, metadata=metadata)


class HealthTest(unittest.TestCase):
    def test_every_check_is_told(self):
        with Daemon(*PATIENT) as daemon:
            apply_block(daemon, 1)
            self.assertEqual(http(daemon, '/livez'), (200, 'ok\n'))
            self.assertEqual(http(daemon, '/readyz'), (200, 'ok\n'))
            status, text = http(daemon, '/readyz?verbose&exclude=memory')
            self.assertEqual(status, 200, text)
            self.assertEqual(re.findall(r'^\[\+\](\w+)', text, re.M), ['shutdown'] + CHECKS, text)
            self.assertIn('[+]memory excluded\n', text)
            told = daemon.admin.GetStatus(admin_pb.GetStatusRequest())
            self.assertEqual([check.name for check in told.health_checks], CHECKS)
            self.assertIn(told.health_level, (2, 3))
            metrics = http(daemon, '/metrics')[1]
            self.assertRegex(metrics, r'(?m)^state_health_level [23]$')
            for check in CHECKS:
                self.assertIn(f'mptd_health_check_level{{check="{check}"}}', metrics)
            self.assertTrue(eventually(lambda: not os.path.exists(os.path.join(daemon.data, 'health.tmp'))))

    def test_a_disk_that_is_too_full(self):
        most = 1 << 40  # that can be asked for
        if shutil.disk_usage(tempfile.gettempdir()).free >= most:
            self.skipTest('no disk is too full here')
        with Daemon('--health.min_free_disk_bytes', str(most)) as daemon:
            self.assertTrue(eventually(lambda: http(daemon, '/readyz')[0] == 503))
            status, text = http(daemon, '/readyz')
            self.assertRegex(text, r'\[-\]disk_space failing: \d+ MiB are free')
            self.assertEqual(http(daemon, '/readyz/disk_space')[0], 503)
            self.assertEqual(http(daemon, '/readyz/storage')[0], 200)
            self.assertEqual(http(daemon, '/readyz?exclude=disk_space')[0], 200)
            self.assertEqual(http(daemon, '/livez')[0], 200)
            not_serving = health_pb.HealthCheckResponse.NOT_SERVING
            serving = health_pb.HealthCheckResponse.SERVING
            for service in ('', 'mptd.v1.StateService'):  # they are set one after the other
                self.assertTrue(eventually(lambda service=service: grpc_health(daemon, service) == not_serving), service)
            self.assertEqual(grpc_health(daemon, 'mptd.v1.AdminService'), serving)
            self.assertEqual(grpc_health(daemon, 'livez'), serving)
            self.assertTrue(daemon.logs('health_check_performed check=disk_space state=failing'))

    def test_who_watches_does_not_hold_up_the_end(self):
        with Daemon(*PATIENT, '--server.shutdown_grace', '1h', '--server.drain_delay', '5s') as daemon:
            stub = health_grpc.HealthStub(daemon.channel)
            ready = stub.Watch(health_pb.HealthCheckRequest(service='readyz'))
            alive = stub.Watch(health_pb.HealthCheckRequest(service='livez'))
            self.assertEqual(next(ready).status, health_pb.HealthCheckResponse.SERVING)
            self.assertEqual(next(alive).status, health_pb.HealthCheckResponse.SERVING)
            daemon.process.send_signal(signal.SIGTERM)
            self.assertEqual(next(ready).status, health_pb.HealthCheckResponse.NOT_SERVING)
            for watch in (ready, alive):
                with self.assertRaises(grpc.RpcError) as ended:
                    next(watch)
                self.assertEqual(ended.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(daemon.process.wait(PATIENCE), 0)

    def test_not_ready_before_the_last_call_is_taken(self):
        for delay in (2, 20, 200):
            with self.subTest(delay=delay), Daemon('--server.drain_delay', f'{delay}s') as daemon:
                apply_block(daemon, 1)
                begin = time.monotonic()
                daemon.process.send_signal(signal.SIGTERM)
                try:
                    self.while_it_drains(daemon)
                except (AssertionError, OSError, grpc.RpcError):
                    if time.monotonic() - begin < delay:
                        raise
                    continue  # on this machine so much takes longer than the delay
                self.assertEqual(daemon.process.wait(delay + PATIENCE), 0)
                return
        self.fail('no delay was long enough')

    def while_it_drains(self, daemon):
        self.assertTrue(eventually(lambda: http(daemon, '/readyz')[0] == 503))
        self.assertIn('shutting down', http(daemon, '/readyz')[1])
        self.assertEqual(http(daemon, '/livez')[0], 200)
        self.assertTrue(eventually(lambda: grpc_health(daemon, '') == health_pb.HealthCheckResponse.NOT_SERVING))
        apply_block(daemon, 2)


class LogTest(unittest.TestCase):
    def lines(self, daemon):
        with open(daemon.log_path, encoding='utf-8') as file:
            lines = [json.loads(line) for line in file if line.endswith('\n')]
        for line in lines:
            self.assertEqual(set(line), {'timestamp', 'level', 'module', 'event_type', 'message', 'context'})
        return [{**line, **line['context']} for line in lines]

    def events(self, daemon, name):
        return [line for line in self.lines(daemon) if line['event_type'] == name]

    def test_a_call_is_found_by_its_id_and_trace(self):
        with Daemon('--logging.format', 'json', '--logging.slow_call_ms', '1ms', '--persistence.mode', 'sync',
                    '--logging.module_levels', 'rpc=debug') as daemon:
            _, call = apply_block(daemon, 1, [('x-request-id', 'req-1'), ('traceparent', TRACE), ('mptd-timing', '1'),
                                              ('authorization', 'Bearer hush-hush')])
            self.assertEqual(dict(call.initial_metadata())['x-request-id'], 'req-1')
            spans = dict(part.split(';dur=') for part in dict(call.trailing_metadata())['server-timing'].split(', '))
            self.assertEqual(list(spans), ['validate', 'queue', 'read', 'hash', 'log', 'publish', 'other', 'total'])
            self.assertAlmostEqual(sum(float(spans[name]) for name in spans if name != 'total'), float(spans['total']), delta=.01)
            self.assertGreater(float(spans['hash']), 0)
            _, call = daemon.state.GetStateRoot.with_call(pb.GetStateRootRequest(), metadata=[('traceparent', 'junk')])
            made = dict(call.initial_metadata())['x-request-id']
            self.assertRegex(made, '^[0-9a-f]{16}$')
            self.assertNotIn('server-timing', dict(call.trailing_metadata()))

            self.assertTrue(eventually(lambda: any(line.get('request_id') == made for line in self.lines(daemon))))
            mine = [line for line in self.lines(daemon) if line.get('request_id') == 'req-1']
            self.assertIn('state_root_computed', [line['event_type'] for line in mine])
            for line in mine:
                self.assertEqual(line['trace_id'], TRACE[3:35])
            root = self.events(daemon, 'state_root_computed')[0]
            self.assertEqual((root['block'], root['accounts_modified']), (1, 1))
            other = [line for line in self.lines(daemon) if line.get('request_id') == made]
            self.assertNotIn('trace_id', other[0])
            with open(daemon.log_path, encoding='utf-8') as file:
                self.assertNotIn('hush', file.read())

    def test_levels_change_by_module(self):
        with Daemon('--logging.format', 'json') as daemon:
            daemon.admin.SetLogLevel(admin_pb.SetLogLevelRequest(level='debug', module='rpc'))
            daemon.head()
            self.assertTrue(eventually(lambda: self.events(daemon, 'call')))
            daemon.admin.SetLogLevel(admin_pb.SetLogLevelRequest(level='error', module='engine'))
            changed = self.events(daemon, 'configuration_changed')
            self.assertEqual((changed[0]['module'], changed[0]['from'], changed[0]['to']), ('rpc', 'info', 'debug'))
            self.assertIn('request_id', changed[0])
            apply_block(daemon, 1)
            daemon.restart()
            self.assertFalse(self.events(daemon, 'state_root_computed'))

    def test_a_blocks_way_is_told_at_debug(self):
        one, two = b'\x01' * 20, b'\x02' * 20
        with Daemon('--logging.format', 'json', '--logging.level', 'debug') as daemon:
            daemon.apply(1, b'', b'', [pb.AccountChange(address=one, balance=b'\x01\x00'),
                                       pb.AccountChange(address=two, balance=b'\x05')])
            daemon.apply(2, b'', b'', [pb.AccountChange(address=one, balance=b'\x01'),
                                       pb.AccountChange(address=two, balance=b'\x06')])
            daemon.apply(3, b'', b'', [pb.AccountChange(address=two, delete=True)])
            with self.assertRaises(grpc.RpcError):
                daemon.apply(9, b'', b'', [])
            daemon.proof(one, [bytes(32)])
            daemon.state.GetMultiProof(pb.GetMultiProofRequest(targets=[pb.ProofTarget(address=a) for a in (one, two)]))
            daemon.admin.Flush(admin_pb.FlushRequest())
            # Of the caches it is told every ten seconds, the first time perhaps before there is anything to tell.
            self.assertTrue(eventually(lambda: self.events(daemon, 'persistence_completed') and
                                       self.events(daemon, 'cache_performance') and
                                       self.events(daemon, 'cache_hit') + self.events(daemon, 'cache_miss')))
            started = self.events(daemon, 'state_transition_started')
            self.assertEqual([(line['block'], line['accounts']) for line in started], [(1, 2), (2, 2), (3, 1), (9, 0)])
            updated = [(line['block'], line['address'], line['old_balance'], line['new_balance'], line['delta'])
                       for line in self.events(daemon, 'account_updated')]
            self.assertEqual(updated, [(1, '0x' + one.hex(), '0', '256', '256'), (1, '0x' + two.hex(), '0', '5', '5'),
                                       (2, '0x' + one.hex(), '256', '1', '-255'), (2, '0x' + two.hex(), '5', '6', '1'),
                                       (3, '0x' + two.hex(), '6', '0', '-6')])
            # Two leaves and their branch, and then a leaf that stands alone.
            nodes = [(line['block'], line['nodes']) for line in self.events(daemon, 'trie_node_updated')]
            self.assertEqual(nodes, [(1, 3), (2, 3), (3, 1)])
            self.assertEqual([line['block'] for line in self.events(daemon, 'persistence_queued')], [1, 2, 3])
            self.assertEqual([line['block'] for line in self.events(daemon, 'state_transition_completed')], [1, 2, 3])
            refused, = self.events(daemon, 'state_transition_refused')
            self.assertEqual(refused['code'], 'FAILED_PRECONDITION')
            proof, proofs = self.events(daemon, 'proof_generated')
            self.assertEqual((proof['block'], proof['accounts'], proof['slots']), (3, 1, 1))
            self.assertEqual((proofs['block'], proofs['accounts'], proofs['slots']), (3, 2, 0))
            verified = [(line['block'], line['valid'], line['level']) for line in self.events(daemon, 'proof_verified')]
            self.assertEqual(verified, [(3, True, 'debug')] * 2)
            self.assertGreater(proof['bytes'], 32 * proof['nodes'])
            for line in self.events(daemon, 'cache_performance'):
                self.assertLessEqual({'cache_hits', 'cache_misses', 'hit_rate'}, set(line))

    def test_the_file_is_rotated_and_opened_anew(self):
        with Daemon() as daemon:
            daemon.stop()
            path = os.path.join(daemon.scratch, 'mptd.log')
            daemon.flags = ('--logging.file', path, '--logging.max_file_bytes', '2000', '--logging.keep_files', '2')
            daemon.start()
            for number in range(1, 31):
                apply_block(daemon, number)
            self.assertTrue(eventually(lambda: os.path.exists(path + '.2')))
            os.rename(path, path + '.moved')
            daemon.process.send_signal(signal.SIGUSR1)
            self.assertTrue(eventually(lambda: os.path.exists(path)))
            daemon.stop()
            self.assertEqual(sorted(glob.glob(path + '*')), [path, path + '.1', path + '.2', path + '.moved'])
            for name in glob.glob(path + '*'):
                self.assertLessEqual(os.path.getsize(name), 2000, name)


if __name__ == '__main__':
    unittest.main()

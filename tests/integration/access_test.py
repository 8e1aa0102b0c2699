#!/usr/bin/env python3
"""Who may do what, as clients of another gRPC library see it: tokens, roles, unix sockets, rate limits, reflection and health, and
the audit log with mptctl; kill -9 among it."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import grpc

from client import (MPTCTL, PATIENCE, Daemon, admin_pb, block_request, environment, error_details, eventually, health_grpc,
                    health_pb, pb, reflection_grpc, reflection_pb)
from tokens import SECRET, b64, bearer, secret_file, shared, token

class AccessTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='mptd-access-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.audit = self.path('audit.log')
        secret_file(self.path('jwt.hex'))
        self.key = self.path('issuer.key')
        self.openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', self.key)
        self.openssl('pkey', '-in', self.key, '-pubout', '-out', self.path('issuer.pem'))

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name), encoding='ascii') as file:
            return file.read()

    @staticmethod
    def openssl(*args, data=None):
        return subprocess.run(['openssl', *args], input=data, check=True, capture_output=True, timeout=PATIENCE).stdout

    def issued(self, **claims):
        claims = {'aud': 'mptd', 'exp': int(time.time()) + 600, **claims}
        text = b64(b'{"alg":"RS256","typ":"JWT"}') + '.' + b64(json.dumps(claims).encode())
        return text + '.' + b64(self.openssl('dgst', '-sha256', '-sign', self.key, data=text.encode()))

    def flags(self, *more):
        return ('--security.jwt_secret_file', self.path('jwt.hex'), '--security.jwt_public_key_file',
                self.path('issuer.pem'), '--security.jwt_audience', 'mptd', '--security.roles', 'secret -> writer',
                '--security.roles', 'jwt:sub=indexer -> reader', '--security.roles', 'jwt:groups=ops -> operator',
                '--security.audit_file', self.audit, *more)

    def lines(self):
        """Those that are whole; the daemon may be writing the next one."""
        with open(self.audit, encoding='ascii') as file:
            return [json.loads(line) for line in file if line.endswith('\n')]

    def refused(self, code, call, request, metadata=()):
        """The message of the refusal; the audit log has one line more, with the same message."""
        before = len(self.lines())
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call(request, metadata=metadata, timeout=PATIENCE)
            if hasattr(answer, '__next__'):
                list(answer)
        error = caught.exception
        self.assertEqual(error.code(), code, error.details())
        added = self.lines()[before:]
        self.assertEqual(len(added), 1, added)
        line = added[0]
        self.assertEqual((line['event'], line['code'], line['reason']), ('refused', code.name, error.details()))
        return error

    def verify(self, *args):
        done = subprocess.run([MPTCTL, 'audit', 'verify', '-o', 'json', *args], capture_output=True, text=True,
                              env=environment(), timeout=PATIENCE, check=False)
        return done.returncode, json.loads(done.stdout)

    def mptctl(self, daemon, *args):
        return subprocess.run([MPTCTL, '--server', f'127.0.0.1:{daemon.port}', *args], capture_output=True, text=True,
                              env=environment(), timeout=PATIENCE, check=False)

    def test_tokens(self):
        with Daemon(*self.flags()) as daemon:
            root, flush = daemon.state.GetStateRoot, daemon.admin.Flush
            apply = daemon.state.ApplyStateChanges
            block = block_request(1, bytes(32), bytes(32), {})
            apply(block, metadata=bearer(shared()), timeout=PATIENCE)
            root(pb.GetStateRootRequest(), metadata=bearer(self.issued(sub='indexer')), timeout=PATIENCE)
            flush(admin_pb.FlushRequest(), metadata=bearer(self.issued(sub='x', groups=['dev', 'ops'])), timeout=PATIENCE)

            unauthenticated, denied = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
            now = int(time.time())
            public = self.read('issuer.pem').encode()
            good = shared()
            bad = {
                'none': token({'iat': now}, {'alg': 'none'}),
                'unsigned': good.rpartition('.')[0] + '.',
                'another secret': token({'iat': now}, key=b'x' * 32),
                'old': token({'iat': now - 300}),
                'from the future': token({'iat': now + 3600}),
                'the public key taken for a secret': token({'sub': 'indexer', 'aud': 'mptd', 'exp': now + 60}, key=public),
                'expired': self.issued(sub='indexer', exp=now - 60),
                'not valid yet': self.issued(sub='indexer', nbf=now + 600),
                'for another service': self.issued(sub='indexer', aud='other'),
                'changed': self.issued(sub='indexer').replace('.', '.x', 1),
                'no token': 'x',
            }
            for name, text in bad.items():
                with self.subTest(name):
                    self.refused(unauthenticated, root, pb.GetStateRootRequest(), bearer(text))
            self.refused(unauthenticated, root, pb.GetStateRootRequest())
            self.refused(unauthenticated, daemon.state.StreamAccounts, pb.StreamAccountsRequest())
            once = bearer(shared(jti='1'))
            root(pb.GetStateRootRequest(), metadata=once, timeout=PATIENCE)
            self.assertIn('used before', self.refused(unauthenticated, root, pb.GetStateRootRequest(), once).details())
            error = self.refused(denied, apply, block, bearer(self.issued(sub='indexer')))
            self.assertIn('writer or admin', error.details())
            self.assertEqual(error_details(error)['ErrorInfo'].reason, 'PERMISSION_DENIED')
            good = shared()  # another one: they are good for a minute, and what is above may take longer
            self.refused(denied, flush, admin_pb.FlushRequest(), bearer(good))
            self.refused(denied, daemon.admin.ReloadConfig, admin_pb.ReloadConfigRequest(),
                         bearer(self.issued(groups='ops')))
            written = self.read('audit.log')
            daemon.stop()
            self.assertNotIn(good.rpartition('.')[2], written + daemon.whole_log())
            self.assertNotIn(SECRET.hex(), written + daemon.whole_log())

    def test_health_is_free_and_reflection_is_not(self):
        with Daemon(*self.flags()) as daemon:
            health_grpc.HealthStub(daemon.channel).Check(health_pb.HealthCheckRequest(), timeout=PATIENCE)
            reflection = reflection_grpc.ServerReflectionStub(daemon.channel).ServerReflectionInfo
            ask = [reflection_pb.ServerReflectionRequest(list_services='')]
            answer, = reflection(iter(ask), metadata=bearer(shared()), timeout=PATIENCE)
            self.assertGreaterEqual(len(answer.list_services_response.service), 4)
            error = self.refused(grpc.StatusCode.UNAUTHENTICATED, lambda r, **options: reflection(iter(r), **options), ask)
            self.assertIn('neither a token', error.details())

    def test_users_of_a_unix_socket(self):
        socket = 'unix:' + self.path('socket')
        with Daemon('--listen', socket, '--security.roles', f'unix:uid={os.getuid()} -> reader',
                    '--security.audit_file', self.audit) as daemon:
            # By TCP nobody is anybody.
            self.refused(grpc.StatusCode.UNAUTHENTICATED, daemon.state.GetStateRoot, pb.GetStateRootRequest())
            daemon.channel.close()
            daemon.connect(socket)
            self.assertFalse(daemon.admin.GetStatus(admin_pb.GetStatusRequest(), timeout=PATIENCE).has_blocks)
            error = self.refused(grpc.StatusCode.PERMISSION_DENIED, daemon.admin.Flush, admin_pb.FlushRequest())
            self.assertIn(f'unix:uid={os.getuid()} has no role', error.details())

    def test_rate_limits(self):
        with Daemon('--security.max_writes_per_second', '1', '--security.audit_file', self.audit) as daemon:
            block = block_request(1, bytes(32), bytes(32), {})
            before = len(self.lines())
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in range(1000):  # the same block again is a call like any other
                    daemon.state.ApplyStateChanges(block, timeout=PATIENCE)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            delay = error_details(caught.exception)['RetryInfo'].retry_delay
            self.assertTrue(0 < delay.ToTimedelta().total_seconds() <= 1)
            lines = self.lines()[before:]
            self.assertEqual([line['event'] for line in lines], ['block_applied', 'refused'])
            self.assertEqual(lines[1]['caller'], 'ipv4:127.0.0.1')
            daemon.state.GetStateRoot(pb.GetStateRootRequest(), timeout=PATIENCE)

    def test_mptctl_shows_a_token(self):
        with Daemon(*self.flags()) as daemon:
            done = self.mptctl(daemon, 'status')
            self.assertEqual(done.returncode, 3)
            self.assertIn('neither a token', done.stderr)
            done = self.mptctl(daemon, '--jwt-secret-file', self.path('jwt.hex'), 'status', '-o', 'json')
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)['audit_head'], self.lines()[-1]['hash'])
            with open(self.path('token'), 'w', encoding='ascii') as file:
                file.write(self.issued(groups=['ops']) + '\n')
            done = self.mptctl(daemon, '--token-file', self.path('token'), 'flush')
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.mptctl(daemon, '--token-file', self.path('absent'), 'flush').returncode, 2)

    def test_the_audit_log_survives_kills_and_rotation(self):
        with Daemon('--security.audit_file', self.audit) as daemon:
            blocks = iter(range(1, 1000))

            def apply(count):
                for _ in range(count):
                    number = next(blocks)
                    daemon.apply(number, number.to_bytes(32, 'big'), (number - 1).to_bytes(32, 'big'), {})

            apply(3)
            daemon.restart(signal.SIGKILL)
            apply(2)
            daemon.stop(signal.SIGKILL)
            with open(self.audit, 'ab') as file:  # as a kill within a write would leave it
                file.write(b'{"seq":99,"time":"20')
            self.assertEqual(self.verify(self.audit)[0], 1)
            daemon.start()
            apply(1)
            old = self.audit + '.1'
            os.rename(self.audit, old)
            daemon.process.send_signal(signal.SIGUSR1)
            self.assertTrue(eventually(lambda: os.path.exists(self.audit) and self.lines()), daemon.log())
            apply(2)
            head = daemon.admin.GetStatus(admin_pb.GetStatusRequest(), timeout=PATIENCE).audit_head
            code, report = self.verify(old, self.audit, '--expect-last', head)
            self.assertEqual(code, 0, report)
            self.assertEqual((report['torn'], report['head'], report['first']), (1, head, 1))
            applied = [line['block'] for line in map(json.loads, self.whole_lines(old) + self.whole_lines(self.audit))
                       if line['event'] == 'block_applied']
            self.assertEqual(applied, list(range(1, 9)))
            self.assertEqual(self.lines()[0]['event'], 'continued')
        # The oldest line of all is missing, a block is another one, the newest is missing.
        lines = self.whole_lines(self.audit)
        for name, changed, expect in (('front', lines[1:], []), ('block', [*lines[:1], lines[1].replace(':7', ':8')], []),
                                      ('tail', lines[:-1], ['--expect-last', json.loads(lines[-1])['hash']])):
            with open(self.path('changed'), 'w', encoding='ascii') as file:
                file.write('\n'.join(changed) + '\n')
            code, report = self.verify(old, self.path('changed'), *expect)
            self.assertEqual((code, report['ok']), (1, False), name)

    @staticmethod
    def whole_lines(path):
        with open(path, encoding='ascii') as file:
            return [line for line in file.read().splitlines() if line.endswith('"}')]


if __name__ == '__main__':
    unittest.main()

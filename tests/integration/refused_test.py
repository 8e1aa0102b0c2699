"""Every way to be refused, by real clients with certificates of openssl's command line: each is refused, and each is a line of the
audit log, whose chain verifies at the end."""
import json
import re
import signal
import subprocess
import threading
import time
import unittest

import grpc

from client import MPTCTL, PATIENCE, admin_grpc, admin_pb, environment, eventually, health_grpc, health_pb, pb, pb_grpc
from pki import credentials, outcome
from tls_test import LONG_AGO, WithAuthorities
from tokens import bearer, secret_file, shared, token

UNAUTHENTICATED, UNAVAILABLE = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE
HERE = 'ipv4:127.0.0.1'
ANY_CIPHER = ('-cipher', 'ALL:@SECLEVEL=0')  # openssl itself would not go lower; what is tested is the daemon


class RefusedTest(WithAuthorities):
    def setUp(self):
        self.audit = self.path(self.id() + '.audit')

    def tearDown(self):
        done = subprocess.run([MPTCTL, 'audit', 'verify', self.audit], capture_output=True, text=True, timeout=PATIENCE,
                              env=environment(), check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def daemon(self, *more, **tls):
        crl = self.id() + '.crl'
        return self.start(*self.mutual(crl, **tls), f'--security.audit_file={self.audit}', *more, pair=self.caller)

    def refusals(self):
        """Those whose lines are whole; the daemon may be writing the next one."""
        with open(self.audit, encoding='ascii') as file:
            lines = [json.loads(line) for line in file if line.endswith('\n')]
        return [line for line in lines if line['event'] == 'refused']

    def new_refusals(self, act, reason, code='UNAUTHENTICATED'):
        """What act() leaves in the audit log: at least a line with the reason, which may come a moment later. Clients may try
        twice, so there may be one that is late, of the client before."""
        before = len(self.refusals())
        act()

        def new():
            return [line for line in self.refusals()[before:] if reason in line['reason']]
        self.assertTrue(eventually(new), f'no line of the audit log with "{reason}": {self.refusals()[before:]}')
        for line in new():
            self.assertEqual(line['code'], code, line)
            self.assertIn(HERE, line['peer'], line)
        return new()

    def test_certificates_that_are_not_good_do_not_pass_the_handshake(self):
        revoked = self.callers.issue('revoked')
        self.callers.revoke(revoked)
        clients = [
            ('no_certificate', None, 'no certificate', None),
            ('certificate', self.strangers.issue('wrong-ca'), 'unable to get local issuer', 'issued by CN=strangers'),
            ('certificate', self.callers.issue('expired', dates=LONG_AGO), 'certificate has expired', 'CN=expired, serial '),
            ('certificate', revoked, 'CN=revoked: certificate revoked', 'CN=revoked, serial '),
            ('certificate', self.callers.issue('server', use='serverAuth'), 'purpose', 'CN=server, serial '),
        ]
        with self.daemon() as daemon:
            for label, pair, reason, certificate in clients:
                with self.subTest(reason):
                    def act(pair=pair):
                        self.assertEqual(daemon.outcome(self.ca.cert, pair), UNAVAILABLE)
                    for line in self.new_refusals(act, reason):
                        if certificate:
                            self.assertIn(certificate, line['certificate'])
                        else:
                            self.assertNotIn('certificate', line)
                    self.assertRegex(daemon.page('/metrics'),
                                     f'(?m)^mptd_tls_handshakes_refused_total{{reason="{label}"}} [1-9]')
            daemon.head()

    def test_who_does_not_speak_tls_as_it_is_today(self):
        with self.daemon() as daemon:
            def plaintext():
                with grpc.insecure_channel(f'127.0.0.1:{daemon.port}') as channel:
                    self.assertEqual(outcome(channel), UNAVAILABLE)
            clients = [
                ('version', 'no version of TLS', lambda: daemon.s_client('-tls1_2', *ANY_CIPHER)),
                ('version', 'no version of TLS', lambda: daemon.s_client('-tls1_1', *ANY_CIPHER)),
                ('other', 'no shared cipher', lambda: daemon.s_client('-tls1_3', '-ciphersuites', 'TLS_AES_128_CCM_SHA256')),
                ('plaintext', 'does not speak TLS', plaintext),
            ]
            for label, reason, act in clients:
                with self.subTest(reason):
                    self.new_refusals(act, reason)
                    self.assertRegex(daemon.page('/metrics'),
                                     f'(?m)^mptd_tls_handshakes_refused_total{{reason="{label}"}} [1-9]')
            self.assertNotIn('Cipher is (NONE)', daemon.s_client('-tls1_3', '-cert', self.caller.cert, '-key', self.caller.key))
            daemon.head()

    def test_a_good_certificate_does_not_cover_up_a_bad_token_or_role(self):
        roles = ('--security.roles', 'cert:CN=caller -> reader', '--security.roles', 'secret -> writer',
                 '--security.jwt_secret_file', secret_file(self.path('jwt.hex')))
        with self.daemon(*roles) as daemon:
            root, now = daemon.state.GetStateRoot, int(time.time())
            once = shared(jti='once')
            root(pb.GetStateRootRequest(), metadata=bearer(once), timeout=PATIENCE)
            calls = [
                ('PERMISSION_DENIED', 'cert:CN=caller has no role for Flush', daemon.admin.Flush, admin_pb.FlushRequest(), ()),
                ('UNAUTHENTICATED', 'used before', root, pb.GetStateRootRequest(), bearer(once)),
                ('UNAUTHENTICATED', 'has expired', root, pb.GetStateRootRequest(), bearer(shared(exp=now - 60))),
                ('UNAUTHENTICATED', 'more than 60 seconds', root, pb.GetStateRootRequest(), bearer(token({'iat': now - 300}))),
                ('UNAUTHENTICATED', 'not signed with the key', root, pb.GetStateRootRequest(),
                 bearer(token({'iat': now}, key=b'x' * 32))),
            ]
            for code, reason, call, request, metadata in calls:
                with self.subTest(reason):
                    def act(call=call, request=request, metadata=metadata, code=code):
                        with self.assertRaises(grpc.RpcError) as caught:
                            call(request, metadata=metadata, timeout=PATIENCE)
                        self.assertEqual(caught.exception.code().name, code)
                    line, = self.new_refusals(act, reason, code)
                    self.assertIn('CN=caller, serial ', line['certificate'])

    def test_who_guesses_is_slowed_down_and_cannot_fill_the_log(self):
        with self.daemon('--security.roles', 'cert:CN=nobody -> reader', '--security.max_reads_per_second', '1') as daemon:
            codes = set()
            end = time.monotonic() + PATIENCE
            while len(codes) < 2 and time.monotonic() < end:
                codes.add(outcome(daemon.channel))
            self.assertEqual(codes, {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED})
            self.assertEqual({line['code'] for line in self.refusals()}, {'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED'})

    def test_a_connection_ends_when_its_certificate_is_revoked(self):
        fired = self.callers.issue('fired')
        with self.daemon() as daemon:
            with grpc.secure_channel(f'127.0.0.1:{daemon.port}', credentials(self.ca.cert, fired)) as channel:
                self.assertEqual(outcome(channel), grpc.StatusCode.OK)
                watch = health_grpc.HealthStub(channel).Watch(health_pb.HealthCheckRequest())
                self.assertEqual(next(watch).status, health_pb.HealthCheckResponse.SERVING)
                blocks = pb_grpc.StateServiceStub(channel).StreamBlocks(pb.StreamBlocksRequest())
                ended = [self.when_ended(stream) for stream in (watch, blocks)]

                self.callers.revoke(fired)
                def act():
                    self.callers.crl(self.path(self.id() + '.crl'))
                    daemon.process.send_signal(signal.SIGHUP)
                    # Refused by its next call, or it is closed before, and the next one does not get through.
                    self.assertTrue(eventually(lambda: outcome(channel) in (UNAUTHENTICATED, UNAVAILABLE)))
                for line in self.new_refusals(act, 'CN=fired: certificate revoked'):
                    self.assertIn('CN=fired, serial ', line['certificate'])
                for thread in ended:
                    thread.join(PATIENCE)
                    self.assertFalse(thread.is_alive(), 'a stream goes on')
            closed = re.compile(r'(?m)^mptd_tls_connections_closed_total [1-9]')
            self.assertTrue(eventually(lambda: closed.search(daemon.page('/metrics'))))
            daemon.head()
            self.assertTrue(admin_grpc.AdminServiceStub(daemon.channel).GetStatus(admin_pb.GetStatusRequest()).version)

    @staticmethod
    def when_ended(stream):
        def read():
            try:
                for _ in stream:
                    pass
            except grpc.RpcError:
                pass
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread


if __name__ == '__main__':
    unittest.main()

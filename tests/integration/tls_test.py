"""TLS of the built programs, with authorities of openssl's command line: who is let in, what is spoken, what happens when files
change while the daemon runs."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import grpc

from client import MPTCTL, MPTD, PATIENCE, admin_grpc, admin_pb, environment, eventually, free_port, health_grpc, health_pb
from pki import Authority, Pair, TlsDaemon, credentials, openssl, outcome, read

LONG_AGO = ('20200101000000Z', '20200201000000Z')
FAR_AHEAD = ('20900101000000Z', '20910101000000Z')


def wait_for(condition, what):
    if not eventually(condition):
        raise AssertionError(f'not within {PATIENCE} s: {what}')


def mptctl(*arguments):
    return subprocess.run([MPTCTL, *arguments], capture_output=True, text=True, timeout=PATIENCE, env=environment())


class WithAuthorities(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix='mptd-tls-')
        cls.ca = Authority(cls.dir, 'daemons')
        cls.callers = Authority(cls.dir, 'callers')
        cls.strangers = Authority(cls.dir, 'strangers')
        cls.server = cls.ca.issue('mptd', use='serverAuth')
        cls.caller = cls.callers.issue('caller')

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def tls(self, pair=None, **more):
        pair = pair or self.server
        keys = {'tls_cert_file': pair.cert, 'tls_key_file': pair.key, **more}
        return [f'--security.{key}={value}' for key, value in keys.items()]

    def mutual(self, name, **more):
        """Flags, with a revocation list of the test's own."""
        return self.tls(tls_client_ca_file=self.callers.cert, tls_crl_file=self.callers.crl(self.path(name)), **more)

    def start(self, *flags, pair=None):
        return TlsDaemon(*flags, trust=self.ca.cert, pair=pair)


class DaemonTest(WithAuthorities):
    def assert_hung_up(self, said):
        """openssl has sent its hello, and the daemon answered by closing the connection; gRPC sends no alert first."""
        self.assertIn('Cipher is (NONE)', said)
        self.assertRegex(said, 'has read 0 bytes and written [1-9]')
        self.assertRegex(said, 'unexpected eof while reading|errno=104')

    def test_only_callers_with_a_good_certificate_are_let_in(self):
        revoked = self.callers.issue('revoked')
        self.callers.revoke(revoked)
        bad = {
            'no certificate': None,
            'of another authority': self.strangers.issue('caller'),
            'of the daemon\'s authority, which is not the callers\'': self.ca.issue('caller2'),
            'expired': self.callers.issue('late', dates=LONG_AGO),
            'not valid yet': self.callers.issue('early', dates=FAR_AHEAD),
            'revoked': revoked,
            'for servers': self.callers.issue('server', use='serverAuth'),
        }
        with self.start(*self.mutual('admission.crl'), pair=self.caller) as daemon:
            for what, pair in bad.items():
                self.assertEqual(daemon.outcome(self.ca.cert, pair), grpc.StatusCode.UNAVAILABLE, what)
                self.assertEqual(daemon.outcome(self.ca.cert, self.caller), grpc.StatusCode.OK)
            self.assertTrue(daemon.logs('CN=revoked.*certificate revoked|certificate revoked.*CN=revoked'))
            self.assertRegex(daemon.page('/metrics'), r'(?m)^mptd_tls_peers_refused_total [1-9]')

    def test_who_may_come_without_a_certificate_needs_a_good_one_to_show_one(self):
        with self.start(*self.mutual('request.crl', tls_client_certificates='request')) as daemon:
            self.assertEqual(daemon.outcome(self.ca.cert), grpc.StatusCode.OK)
            self.assertEqual(daemon.outcome(self.ca.cert, self.caller), grpc.StatusCode.OK)
            self.assertEqual(daemon.outcome(self.ca.cert, self.strangers.issue('who')), grpc.StatusCode.UNAVAILABLE)

    def test_clients_notice_the_wrong_daemon(self):
        with self.start(*self.tls()) as daemon:
            self.assertEqual(daemon.outcome(self.ca.cert), grpc.StatusCode.OK)
            self.assertEqual(daemon.outcome(self.ca.cert, name='other.example'), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(daemon.outcome(self.strangers.cert), grpc.StatusCode.UNAVAILABLE)
            with grpc.insecure_channel(f'127.0.0.1:{daemon.port}') as channel:
                self.assertEqual(outcome(channel), grpc.StatusCode.UNAVAILABLE)

    def test_no_version_before_1_3_is_spoken(self):
        old = ('-tls1', '-tls1_1', '-tls1_2')
        # openssl itself would not go lower; what is tested is the daemon.
        anything = ('-cipher', 'ALL:@SECLEVEL=0')
        with self.start(*self.tls()) as daemon:
            for version in old:
                self.assert_hung_up(daemon.s_client(version, *anything))
            self.assertRegex(daemon.s_client('-tls1_3'), r'(?m)^New, TLSv1.3, Cipher is TLS_')
        with self.start(*self.tls(tls_min_version='1.2')) as daemon:
            for version in old[:2]:
                self.assert_hung_up(daemon.s_client(version, *anything))
            self.assertRegex(daemon.s_client('-tls1_2'), r'(?m)^New, TLSv1.2, Cipher is ECDHE-ECDSA-AES')

    def test_of_1_2_only_ciphers_with_forward_secrecy_and_authentication(self):
        names = openssl('ciphers', '-s', '-tls1_2', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0').strip().split(':')
        names = [name for name in names if 'PSK' not in name and 'SRP' not in name and not name.startswith('TLS_')]
        self.assertGreater(len(names), 30)
        taken = set()
        with self.start(*self.tls(tls_min_version='1.2')) as daemon:
            for name in names:
                said = daemon.s_client('-tls1_2', '-cipher', name + ':@SECLEVEL=0')
                if f'Cipher is {name}' in said:
                    taken.add(name)
                else:
                    self.assert_hung_up(said)
            said = daemon.s_client('-tls1_2')
            self.assertIn('Compression: NONE', said)
            self.assertIn('Secure Renegotiation IS supported', said)
        self.assertEqual(taken, {'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'})

    def test_a_renewed_certificate_is_shown_while_connections_go_on(self):
        mine = self.ca.issue('renewed', use='serverAuth')
        with self.start(*self.tls(mine)) as daemon:
            watch = health_grpc.HealthStub(daemon.channel).Watch(health_pb.HealthCheckRequest())
            self.assertEqual(next(watch).status, health_pb.HealthCheckResponse.SERVING)
            before = daemon.serial()
            self.assertTrue(before.startswith('serial='))

            shutil.copy(self.server.key, mine.key)  # half of the new ones
            wait_for(lambda: 'is not the key of' in daemon.page('/readyz/tls'), 'a bad pair is told')
            self.assertRegex(daemon.page('/metrics'), r'(?m)^mptd_tls_files_refused 1$')
            self.assertEqual(daemon.serial(), before)
            self.assertEqual(daemon.outcome(self.ca.cert), grpc.StatusCode.OK)
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.admin.ReloadConfig(admin_pb.ReloadConfigRequest())
            self.assertEqual(caught.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            self.assertIn('is not the key of', caught.exception.details())

            shutil.copy(self.server.cert, mine.cert)
            wait_for(lambda: daemon.serial() not in (before, ''), 'the new certificate is shown')
            wait_for(lambda: '[+]tls ok' in daemon.page('/readyz/tls'), 'the files are good')
            self.assertRegex(daemon.page('/metrics'), r'(?m)^mptd_tls_files_refused 0$')
            self.assertTrue(watch.is_active())
            daemon.head()

    def test_a_new_revocation_list_counts_after_sighup(self):
        caller = self.callers.issue('fired')
        with self.start(*self.mutual('reload.crl'), pair=self.caller) as daemon:
            self.assertEqual(daemon.outcome(self.ca.cert, caller), grpc.StatusCode.OK)
            self.callers.revoke(caller)
            self.callers.crl(self.path('reload.crl'))
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: daemon.outcome(self.ca.cert, caller) == grpc.StatusCode.UNAVAILABLE, 'it is refused')
            self.assertEqual(daemon.outcome(self.ca.cert, self.caller), grpc.StatusCode.OK)

    def test_admin_calls_only_at_their_own_address_and_unix_sockets_without_tls(self):
        port = free_port()
        socket = self.path('mptd.sock')
        with self.start(*self.tls(), f'--server.admin_listen=127.0.0.1:{port}', f'--listen=unix:{socket}') as daemon:
            status = admin_pb.GetStatusRequest()
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.admin.GetStatus(status)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
            with grpc.secure_channel(f'127.0.0.1:{port}', credentials(self.ca.cert)) as channel:
                self.assertTrue(admin_grpc.AdminServiceStub(channel).GetStatus(status).version)
                self.assertEqual(outcome(channel), grpc.StatusCode.UNIMPLEMENTED)
            with grpc.insecure_channel(f'unix:{socket}') as channel:
                self.assertEqual(outcome(channel), grpc.StatusCode.OK)

    def test_no_key_is_ever_told(self):
        with self.start(*self.mutual('secrets.crl'), '--log.level=trace', pair=self.caller) as daemon:
            shown = {entry.key: entry.value for entry in daemon.admin.GetConfig(admin_pb.GetConfigRequest()).entries}
            self.assertEqual(shown['security.tls_key_file'], self.server.key)
            secret = read(self.server.key).decode().splitlines()[1]
            page = daemon.page('/metrics')
            daemon.stop()
            for text in (daemon.whole_log(), page, str(shown)):
                self.assertNotIn(secret, text)


class FilesTest(WithAuthorities):
    """What the daemon does not start with, and what `mptd check` says of it."""

    def assert_refused(self, pair, *words, **more):
        data = self.path('refused')
        flags = ['--data-dir', data, '--listen', '127.0.0.1:0', '--http-listen', 'off', *self.tls(pair, **more)]
        try:
            done = subprocess.run([MPTD, *flags], capture_output=True, text=True, timeout=PATIENCE, env=environment())
            self.assertEqual(done.returncode, 1, done.stderr)
            check = subprocess.run([MPTD, 'check', '--quick', '-o', 'json', *flags], capture_output=True, text=True,
                                   timeout=PATIENCE, env=environment())
            self.assertEqual(check.returncode, 2, check.stdout)
            found = next(one for one in json.loads(check.stdout)['checks'] if one['name'] == 'tls')
            self.assertEqual(found['result'], 'failed')
            for word in words:
                self.assertIn(word, done.stderr)
                self.assertIn(word, found['measured'])
        finally:
            shutil.rmtree(data, ignore_errors=True)

    def copy_of_server(self, name):
        pair = Pair(self.path(name + '.pem'), self.path(name + '.key'))
        shutil.copy(self.server.cert, pair.cert)
        shutil.copy(self.server.key, pair.key)
        return pair

    def test_bad_files_are_refused_with_a_sentence(self):
        pair = self.copy_of_server('open')
        os.chmod(pair.key, 0o644)
        self.assert_refused(pair, pair.key, 'others can read', 'chmod 0600')
        self.assert_refused(Pair(self.server.cert, self.caller.key), self.caller.key, 'is not the key of')
        self.assert_refused(Pair(self.path('nothing'), self.server.key), self.path('nothing'), 'No such file')
        self.assert_refused(Pair(self.server.key, self.server.key), 'has no certificate')
        self.assert_refused(Pair(self.server.cert, self.server.cert), 'private key that others can read')
        self.assert_refused(self.ca.issue('late', use='serverAuth', dates=LONG_AGO), 'expired at 2020-02-01', 'renew')
        self.assert_refused(self.ca.issue('early', use='serverAuth', dates=FAR_AHEAD), 'not valid before 2090-01-01')
        pair = self.copy_of_server('locked')
        openssl('pkey', '-in', self.server.key, '-aes128', '-passout', 'pass:word', '-out', pair.key)
        self.assert_refused(pair, 'has a passphrase')
        pair = self.copy_of_server('chain')
        with open(pair.cert, 'ab') as file:
            file.write(read(self.strangers.cert))
        self.assert_refused(pair, 'wrong order', 'CN=strangers did not issue CN=mptd')
        self.assert_refused(self.server, 'not a CA', 'CN=caller', tls_client_ca_file=self.caller.cert)
        foreign = self.strangers.crl(self.path('foreign.crl'))
        self.assert_refused(self.server, 'no list that is signed by CN=callers', tls_client_ca_file=self.callers.cert,
                            tls_crl_file=foreign)

    def test_good_files_are_said_to_be_good(self):
        flags = ['--data-dir', self.path('fresh'), '--listen', '127.0.0.1:0', '--http-listen', 'off']
        flags += self.mutual('check.crl')
        check = subprocess.run([MPTD, 'check', '--quick', '-o', 'json', *flags], capture_output=True, text=True, timeout=PATIENCE,
                               env=environment())
        found = next(one for one in json.loads(check.stdout)['checks'] if one['name'] == 'tls')
        self.assertEqual(found['result'], 'ok', found)
        self.assertRegex(found['measured'], r'CN=mptd fits its key and is valid for (29|30) days')

    def test_others_are_not_answered_without_tls_unless_it_is_said(self):
        flags = [MPTD, '--data-dir', self.path('open'), '--listen', '0.0.0.0:0', '--http-listen', 'off']
        done = subprocess.run(flags, capture_output=True, text=True, timeout=PATIENCE, env=environment())
        self.assertEqual(done.returncode, 2)
        self.assertIn('"0.0.0.0:0" can be reached by others', done.stderr)
        self.assertFalse(os.path.exists(self.path('open')))


class MptctlTest(WithAuthorities):
    def test_it_speaks_tls(self):
        with self.start(*self.mutual('mptctl.crl'), pair=self.caller) as daemon:
            server = ['--server', f'localhost:{daemon.port}']
            ca = ['--tls-ca', self.ca.cert]
            pair = ['--tls-cert', self.caller.cert, '--tls-key', self.caller.key]
            self.assertEqual(mptctl(*server, *ca, *pair, 'status').returncode, 0)
            doctor = mptctl(*server, *ca, *pair, 'doctor', '-o', 'json')
            self.assertIn(doctor.returncode, (0, 1), doctor.stdout)
            variables = {'MPTCTL_TLS_CA': self.ca.cert, 'MPTCTL_TLS_CERT': self.caller.cert,
                         'MPTCTL_TLS_KEY': self.caller.key}
            done = subprocess.run([MPTCTL, *server, 'root'], capture_output=True, text=True, timeout=PATIENCE,
                                  env=environment() | variables)
            self.assertEqual(done.returncode, 0, done.stderr)

            def refused(words, *arguments):
                done = mptctl(*server, *arguments, 'status')
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn(words, done.stderr)

            refused('give the one that it has with --tls-server-name', *ca, *pair, '--tls-server-name', 'mptd.example')
            refused('was issued by no CA', *pair, '--tls-ca', self.strangers.cert)
            refused('if it speaks TLS, name its CA')
            refused('it wants a certificate', *ca)
            os.chmod(self.caller.key, 0o644)
            refused('others can read', *ca, *pair)
            os.chmod(self.caller.key, 0o600)

    def test_what_goes_together(self):
        for words, arguments in (('without --tls-key', ['--tls-cert', 'x']), ('needs --tls-ca', ['--tls-server-name', 'x'])):
            done = mptctl(*arguments, 'status')
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)


if __name__ == '__main__':
    unittest.main()

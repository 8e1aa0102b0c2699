"""Secrets are never said: not in the log, metrics, answers of calls, printed settings or errors about themselves.

A setting that has or names a secret is one line of SECRETS. Lines of settings that this build has not are passed over;
a setting that looks like a secret and has no line fails.
"""
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import grpc

from client import MPTD, PATIENCE, Daemon, admin_pb, environment, pb


class Folder:
    """Makes what settings point to. `said` are the texts that must not appear anywhere."""

    def __init__(self, path):
        self.path = path
        self.said = []

    def hex_file(self):
        """A file of 64 hexadecimal digits which only its owner may read."""
        digits = secrets.token_hex(32)
        self.said.append(digits)
        return self.file(digits)

    def broken_file(self):
        """The same with a mistake in it, as in a key that was copied badly."""
        digits = secrets.token_hex(30)
        self.said.append(digits)
        return self.file(digits + '-not-hexadecimal')

    def variable(self, digits=None):
        """The name of a variable with 64 hexadecimal digits, which a daemon that is started from now on finds."""
        digits = digits or secrets.token_hex(32)
        self.said.append(digits)
        name = f'SECRETS_TEST_{len(self.said)}'
        os.environ[name] = digits
        return name

    def broken_variable(self):
        return self.variable(secrets.token_hex(30) + '-not-hexadecimal')

    def file(self, text):
        path = os.path.join(self.path, f'secret-{len(self.said)}')
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), 'w', encoding='utf-8') as file:
            file.write(text + '\n')
        return path


# Setting -> (makes a good value, makes a bad one, what must be set with it in the same section).
SECRETS = {
    'security.jwt_secret_file': (Folder.hex_file, Folder.broken_file, {'roles': ['secret -> admin']}),
    'security.encryption_key_file': (Folder.hex_file, Folder.broken_file, {}),
    'security.encryption_key_env': (Folder.variable, Folder.broken_variable, {}),
    'security.encryption_key_command': (lambda f: 'cat ' + f.hex_file(), lambda f: 'cat ' + f.broken_file(), {}),
}
LOOKS_SECRET = re.compile(r'(secret|token|password|passphrase|(?<!public_)key)(_file|_env|_command)?$')
# Checking it takes a client that speaks TLS, which the Daemon of client.py does not.
NOT_HERE = {'security.tls_key_file'}


def settings():
    """All that the daemon has, as its schema names them."""
    done = subprocess.run([MPTD, '--print-config-schema'], capture_output=True, text=True, timeout=PATIENCE, check=True,
                          env=environment())

    def walk(schema, prefix=''):
        for name, inner in schema.get('properties', {}).items():
            yield prefix + name
            yield from walk(inner, prefix + name + '.')
    return set(walk(json.loads(done.stdout)))


def config_file(folder, key, value, others=()):
    path = os.path.join(folder, 'mptd.yaml')
    section, name = key.split('.')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(json.dumps({section: {name: value, **dict(others)}, 'logging': {'level': 'trace'}}))  # JSON is YAML
    return path


def answer_of(call, *arguments):
    """What a call tells, which may be why it is refused."""
    try:
        return str(call(*arguments))
    except grpc.RpcError as error:
        return f'{error.details()} {error.trailing_metadata()}'


def everything_said(daemon, config):
    """What a running daemon tells, place by place; the daemon has ended then."""
    places = {
        'an error': answer_of(daemon.account, b'\x11'),  # too short
        'a change': answer_of(daemon.apply, 1, b'', b'', [pb.AccountChange(address=b'\x11' * 20, nonce=1)]),
        'GetConfig': answer_of(daemon.admin.GetConfig, admin_pb.GetConfigRequest()),
        'GetMetrics': answer_of(daemon.admin.GetMetrics, admin_pb.GetMetricsRequest()),
    }
    with urllib.request.urlopen(f'http://127.0.0.1:{daemon.http_port}/metrics', timeout=PATIENCE) as answer:
        places['metrics'] = answer.read().decode()
    printed = subprocess.run([MPTD, '--config', config, '--print-config'], capture_output=True, text=True,
                             timeout=PATIENCE, check=True, env=environment())
    places['--print-config'] = printed.stdout + printed.stderr
    with open(f'/proc/{daemon.process.pid}/cmdline', encoding='utf-8', errors='replace') as file:
        places['the command line'] = file.read()
    daemon.stop()
    with open(daemon.log_path, encoding='utf-8', errors='replace') as file:
        places['the log'] = file.read()
    return places


class SecretsTest(unittest.TestCase):
    def setUp(self):
        self.path = tempfile.mkdtemp(prefix='mptd-secrets-')
        self.addCleanup(shutil.rmtree, self.path)
        self.folder = Folder(self.path)

    def test_what_is_not_secret_is_found(self):
        # Or else the tests below would look in the wrong places.
        mark = 'mark-' + secrets.token_hex(8)
        daemon = Daemon(data=os.path.join(self.path, mark))
        config = config_file(self.path, 'backup.dir', os.path.join(self.path, mark + '-backups'))
        daemon.flags = ('--config', config)
        with daemon:
            places = everything_said(daemon, config)
        self.assertEqual({place for place in ('GetConfig', '--print-config', 'the command line', 'the log')
                          if mark not in places[place]}, set())
        self.assertIn('address', places['an error'])
        self.assertIn('mptd_', places['metrics'])
        self.assertIn('state_root', places['GetMetrics'])

    def test_every_secret_setting_is_listed(self):
        for name in ('a.jwt_secret_file', 'a.key_file', 'a.password', 'a.bearer_token', 'a.key_env'):
            self.assertRegex(name, LOOKS_SECRET)
        unlisted = {name for name in settings() if LOOKS_SECRET.search(name)} - set(SECRETS) - NOT_HERE
        self.assertEqual(unlisted, set(), 'add a line to SECRETS')

    def test_good_secrets_are_not_said(self):
        for key in sorted(SECRETS.keys() & settings()):
            with self.subTest(key):
                daemon = Daemon()
                config = self.config(key, SECRETS[key][0])
                daemon.flags = ('--config', config)
                with daemon:
                    self.assert_nothing_said(everything_said(daemon, config))

    def test_bad_secrets_are_refused_without_being_said(self):
        for key in sorted(SECRETS.keys() & settings()):
            with self.subTest(key):
                config = self.config(key, SECRETS[key][1])
                done = subprocess.run([MPTD, '--data-dir', os.path.join(self.path, 'data-' + key), '--config', config],
                                      capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment())
                self.assertNotEqual(done.returncode, 0)
                self.assert_nothing_said({'the error': done.stdout + done.stderr})

    def config(self, key, make):
        return config_file(self.path, key, make(self.folder), SECRETS[key][2])

    def assert_nothing_said(self, places):
        self.assertTrue(self.folder.said)
        self.assertEqual([place for place, text in places.items() if any(s.lower() in text.lower()
                                                                         for s in self.folder.said)], [])


if __name__ == '__main__':
    unittest.main()

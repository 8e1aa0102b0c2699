"""Certificate authorities of openssl's command line, for tests: certificates of any age and use, revocation lists, and a daemon that
speaks TLS with them."""
import os
import subprocess
import urllib.error
import urllib.request

import grpc

from client import PATIENCE, Daemon, pb, pb_grpc

CONFIG = '''
[ca]
default_ca = own
[own]
database = {dir}/index.txt
serial = {dir}/serial
crlnumber = {dir}/crlnumber
new_certs_dir = {dir}
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = supplied
[ca_use]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = {use}
subjectAltName = {names}
'''
HERE = 'DNS:localhost, IP:127.0.0.1'


def openssl(*arguments, check=True, text=''):
    """What it printed."""
    done = subprocess.run(['openssl', *arguments], input=text, capture_output=True, text=True, timeout=PATIENCE)
    if check and done.returncode != 0:
        raise AssertionError(f'openssl {" ".join(arguments)}:\n{done.stderr}')
    return done.stdout


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def new_key(path):
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path)
    os.chmod(path, 0o600)
    return path


class Pair:
    """The files of a certificate and its key."""

    def __init__(self, cert, key):
        self.cert = cert
        self.key = key


class Authority:
    def __init__(self, folder, name):
        self.dir = os.path.join(folder, name)
        os.mkdir(self.dir)
        for file, text in (('index.txt', ''), ('serial', '1000\n'), ('crlnumber', '01\n')):
            with open(os.path.join(self.dir, file), 'w', encoding='utf-8') as out:
                out.write(text)
        self.cert = os.path.join(self.dir, 'ca.pem')
        key = new_key(os.path.join(self.dir, 'ca.key'))
        openssl('req', '-x509', '-new', '-key', key, '-subj', f'/CN={name}', '-days', '60', '-out', self.cert,
                '-config', self._config(), '-extensions', 'ca_use')

    def _config(self, use='clientAuth', names=HERE):
        path = os.path.join(self.dir, 'openssl.cnf')
        with open(path, 'w', encoding='utf-8') as out:
            out.write(CONFIG.format(dir=self.dir, use=use, names=names) + '[req]\ndistinguished_name = dn\n[dn]\n')
        return path

    def issue(self, name, use='clientAuth', names=HERE, dates=()):
        """`dates` are (from, to) as openssl writes them, "20200101000000Z"."""
        pair = Pair(os.path.join(self.dir, name + '.pem'), new_key(os.path.join(self.dir, name + '.key')))
        config = self._config(use, names)
        request = os.path.join(self.dir, name + '.csr')
        openssl('req', '-new', '-key', pair.key, '-subj', f'/CN={name}', '-out', request, '-config', config)
        when = ('-startdate', dates[0], '-enddate', dates[1]) if dates else ()
        openssl('ca', '-batch', '-notext', '-config', config, '-extensions', 'leaf', '-in', request, '-out', pair.cert,
                *when)
        return pair

    def revoke(self, pair):
        openssl('ca', '-config', self._config(), '-revoke', pair.cert)

    def crl(self, path):
        openssl('ca', '-gencrl', '-config', self._config(), '-out', path)
        return path


def credentials(ca, pair=None):
    return grpc.ssl_channel_credentials(read(ca), pair and read(pair.key), pair and read(pair.cert))


class TlsDaemon(Daemon):
    """`trust` and `pair` are what its own channel connects with."""

    def __init__(self, *flags, trust, pair=None):
        super().__init__(*flags)
        self.trust = trust
        self.pair = pair

    def open_channel(self, target, options):
        return grpc.secure_channel(target, credentials(self.trust, self.pair), options=options)

    def outcome(self, ca, pair=None, name=None):
        """The code of a call over a connection of its own."""
        options = [('grpc.use_local_subchannel_pool', 1)]
        if name:
            options.append(('grpc.ssl_target_name_override', name))
        with grpc.secure_channel(f'127.0.0.1:{self.port}', credentials(ca, pair), options=options) as channel:
            return outcome(channel)

    def s_client(self, *arguments):
        """Both of openssl's outputs, after a handshake and nothing else."""
        done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{self.port}', '-alpn', 'h2', *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
                              errors='replace')
        return done.stdout + done.stderr

    def serial(self):
        """Of the certificate that a new connection is shown."""
        return openssl('x509', '-noout', '-serial', text=self.s_client()).strip()

    def page(self, path):
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{self.http_port}{path}', timeout=PATIENCE) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()


def outcome(channel):
    try:
        pb_grpc.StateServiceStub(channel).GetStateRoot(pb.GetStateRootRequest(), timeout=PATIENCE)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK

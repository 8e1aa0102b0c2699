"""What the integration tests share: stubs made from proto/, a daemon on a folder of its own, and conversions.

Everything goes over a socket to the built programs in MPTD_BIN. MPTD_TESTDATA is the folder of vectors, MPTD_SOURCE the
checkout. MPTD_TEST_SCALE=short makes the long tests short, for builds with sanitizers.
"""
import collections
import glob
import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import grpc

SOURCE = os.environ.get('MPTD_SOURCE') or os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
BIN = os.environ.get('MPTD_BIN') or os.path.join(SOURCE, 'build/release/bin')
TESTDATA = os.environ.get('MPTD_TESTDATA') or os.path.join(SOURCE, 'tests/testdata')
SHORT = os.environ.get('MPTD_TEST_SCALE') == 'short'
MPTD = os.path.join(BIN, 'mptd')
MPTCTL = os.path.join(BIN, 'mptctl')
# Sanitizers and two busy cores make everything slower; nothing here waits this long when all is well.
PATIENCE = 300
# Flags of a daemon that is to be ready all the time: one whose disk is busy for seconds may say that it is not.
PATIENT = ('--health.check_timeout', '1h')

ZERO_HASH = bytes(32)
EMPTY_ROOT = bytes.fromhex('56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421')

def eventually(condition):
    """Whether the condition comes to hold; waits for it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def environment():
    """Without what the tests are given, which the daemon would take for settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith('MPTD_')}


def with_sanitizer():
    """Such builds take several times the memory, and have no manual pages and no completion."""
    with open(os.path.join(BIN, '../CMakeCache.txt'), encoding='utf-8') as cache:
        return any(re.match(r'MPTD_SANITIZER:\w+=.', line) for line in cache)


def _make_stubs():
    out = tempfile.mkdtemp(prefix='mptd-stubs-')
    try:
        own = os.path.join(SOURCE, 'proto')
        standard = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'proto')
        # Of what gRPC has defined, the tests have their own texts, as any client.
        files = [name for name in glob.glob(own + '/**/*.proto', recursive=True)
                 if not name.startswith(own + '/grpc/')] + glob.glob(standard + '/*.proto')
        subprocess.run(['protoc', '-I', own, '-I', standard, '--python_out=' + out, '--grpc_python_out=' + out,
                        '--plugin=protoc-gen-grpc_python=' + shutil.which('grpc_python_plugin'), *files], check=True)
        sys.path.insert(0, out)
        sys.dont_write_bytecode = True
        from mptd.v1 import admin_pb2, admin_pb2_grpc, state_pb2, state_pb2_grpc
        import health_pb2
        import health_pb2_grpc
        import reflection_pb2
        import reflection_pb2_grpc
        from google.rpc import error_details_pb2, status_pb2
        return (state_pb2, state_pb2_grpc, admin_pb2, admin_pb2_grpc, health_pb2, health_pb2_grpc, reflection_pb2,
                reflection_pb2_grpc, status_pb2, error_details_pb2)
    finally:
        shutil.rmtree(out)


(pb, pb_grpc, admin_pb, admin_grpc, health_pb, health_grpc, reflection_pb, reflection_grpc, status_pb,
 details_pb) = _make_stubs()


# --- conversions ----------------------------------------------------------------------------------------------------

def unhex(text):
    text = text[2:] if text.startswith('0x') else text
    return bytes.fromhex(text if len(text) % 2 == 0 else '0' + text)


def quantity(value):
    """A number, or its hex text, as the interface has it: big-endian without leading zeros."""
    if isinstance(value, str):
        return unhex(value).lstrip(b'\0')
    return value.to_bytes((value.bit_length() + 7) // 8, 'big')


def word(value):
    """A slot's key from a number or hex text."""
    return (unhex(value) if isinstance(value, str) else quantity(value)).rjust(32, b'\0')


def to_hex(data):
    return '0x' + data.hex()


def to_quantity(data):
    return hex(int.from_bytes(data, 'big'))


def load(name):
    with gzip.open(os.path.join(TESTDATA, name)) as file:
        return json.load(file)


def account_change(address, fields):
    """One account of the vectors' JSON: balance, nonce, code, storage, delete; set_code keeps an empty code."""
    change = pb.AccountChange(address=unhex(address))
    if fields.get('delete'):
        change.delete = True
        return change
    if 'nonce' in fields:
        change.nonce = int(fields['nonce'], 16)
    if 'balance' in fields:
        change.balance = quantity(fields['balance'])
    if 'code' in fields and (fields['code'] != '0x' or fields.get('set_code')):
        change.code = unhex(fields['code'])
    for key, value in fields.get('storage', {}).items():
        change.slots.add(key=word(key), value=quantity(value))
    return change


def block_request(number, block_hash, parent_hash, changes, **options):
    if isinstance(changes, dict):
        changes = [account_change(address, fields) for address, fields in changes.items()]
    return pb.ApplyStateChangesRequest(number=number, hash=block_hash, parent_hash=parent_hash, changes=changes,
                                       **options)


def proof_json(response):
    """A GetProofResponse as eth_getProof writes it (EIP-1186)."""
    return {
        'address': to_hex(response.address),
        'accountProof': [to_hex(node) for node in response.account_proof],
        'balance': to_quantity(response.balance),
        'codeHash': to_hex(response.code_hash),
        'nonce': hex(response.nonce),
        'storageHash': to_hex(response.storage_root),
        'storageProof': [{'key': to_hex(slot.key), 'value': to_quantity(slot.value),
                          'proof': [to_hex(node) for node in slot.proof]} for slot in response.storage_proofs],
    }


def verify_offline(state_root, proof):
    """Whether `mptctl verify` accepts a proof (an EIP-1186 object); the second value is what it printed."""
    done = subprocess.run([MPTCTL, 'verify', '--root', to_hex(state_root), '-'], input=json.dumps(proof), text=True,
                          capture_output=True, timeout=PATIENCE)
    if done.returncode not in (0, 1):
        raise AssertionError(f'mptctl verify exited with {done.returncode}: {done.stderr}')
    return done.returncode == 0, done.stdout + done.stderr


def error_details(error):
    """The google.rpc details of a failed call, by the name of their type: {'BadRequest': message, …}."""
    details = {}
    for key, value in error.trailing_metadata() or ():
        if key != 'grpc-status-details-bin':
            continue
        for item in status_pb.Status.FromString(value).details:
            name = item.TypeName().rpartition('.')[2]
            message = getattr(details_pb, name)()
            item.Unpack(message)
            details[name] = message
    return details


# --- the daemon -----------------------------------------------------------------------------------------------------

# Below the ports that the kernel gives to connections and to those who ask for any: nobody gets one of these by chance.
PORTS = range(20_000, 32_768)
# More than a test uses at the same time; a campaign of kills starts thousands of daemons.
MOST_CLAIMS = 100
_claims = collections.deque()


def free_port():
    """A port that nobody listens on, and that no other test takes as long as it is among the last that this process asked for.
    The claim on it is a socket without a file, which the kernel takes back with the process."""
    while True:
        port = random.choice(PORTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f'\0mptd-test-port-{port}')
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        if len(_claims) > MOST_CLAIMS:
            _claims.popleft().close()
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
                return port
            except OSError:
                continue


class Daemon:
    """A daemon on `data` (a new temporary folder by default, removed by close). Use as a context manager."""

    def __init__(self, *flags, data=None):
        self.scratch = tempfile.mkdtemp(prefix='mptd-test-')
        self.data = data or os.path.join(self.scratch, 'data')
        self.flags = flags
        self.log_path = os.path.join(self.scratch, 'log')
        self.process = None
        self.channel = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.close(check=exc[0] is None)

    def start(self):
        self.port = free_port()
        self.http_port = free_port()
        self.process = start_process(self.data, self.port, self.http_port, self.flags, self.log_path)
        self.connect(f'127.0.0.1:{self.port}')
        return self

    def connect(self, target):
        size = 256 << 20
        self.channel = self.open_channel(target, [
            ('grpc.max_receive_message_length', size), ('grpc.max_send_message_length', size),
            # A refused connection is tried again soon: the daemon is just starting. One that is made may take its time, which
            # the third of these says, whatever it is called.
            ('grpc.initial_reconnect_backoff_ms', 20), ('grpc.max_reconnect_backoff_ms', 200),
            ('grpc.min_reconnect_backoff_ms', 60_000), ('grpc.use_local_subchannel_pool', 1)])
        self.state = pb_grpc.StateServiceStub(self.channel)
        self.admin = admin_grpc.AdminServiceStub(self.channel)
        ready = grpc.channel_ready_future(self.channel)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                ready.result(timeout=0.2)
                return
            except grpc.FutureTimeoutError:
                if self.process.poll() is not None:
                    raise AssertionError(f'mptd exited with {self.process.returncode}:\n{self.log()}') from None
                if time.monotonic() > end:
                    raise AssertionError(f'mptd is not ready after {PATIENCE} s:\n{self.log()}') from None

    def open_channel(self, target, options):
        return grpc.insecure_channel(target, options=options)

    def whole_log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()

    def log(self):
        """The end of it, for the message of a failure."""
        return self.whole_log()[-8000:]

    def logs(self, pattern):
        """Whether something comes to stand in the log: a thread of its own writes it, a moment behind what it tells."""
        return eventually(lambda: re.search(pattern, self.whole_log()))

    def stop(self, sig=signal.SIGTERM):
        """Ends the process and returns its exit code (-9 for a kill)."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'mptd still runs {PATIENCE} s after signal {sig}:\n{self.log()}') from None
        finally:
            self.channel.close()
        return code

    def restart(self, sig=signal.SIGTERM):
        code = self.stop(sig)
        if code != (-sig if sig == signal.SIGKILL else 0):
            raise AssertionError(f'mptd exited with {code} after signal {sig}:\n{self.log()}')
        return self.start()

    def close(self, check=True):
        try:
            if self.process is not None:
                code = self.stop()
                if check and code not in (0, -signal.SIGKILL):
                    raise AssertionError(f'mptd exited with {code}:\n{self.log()}')
                if 'Sanitizer' in self.whole_log():
                    raise AssertionError('a sanitizer found something:\n' + self.whole_log())
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    # Calls that most tests make.

    def apply(self, number, block_hash, parent_hash, changes, **options):
        return self.state.ApplyStateChanges(block_request(number, block_hash, parent_hash, changes, **options))

    def head(self):
        return self.state.GetStateRoot(pb.GetStateRootRequest()).block

    def account(self, address, **block):
        return self.state.GetAccount(pb.GetAccountRequest(address=address, block=pb.BlockRef(**block)))

    def proof(self, address, slots=(), **block):
        return self.state.GetProof(pb.GetProofRequest(address=address, slots=slots, block=pb.BlockRef(**block)))

    def verify_data(self):
        """The last message of AdminService.Verify: every trie recomputed from the flat tables."""
        last = None
        for last in self.admin.Verify(admin_pb.VerifyRequest()):
            pass
        return last


def start_process(data, port, http_port, flags, log_path, program=MPTD, **options):
    with open(log_path, 'ab') as log:
        return subprocess.Popen([program, '--data-dir', data, '--listen', f'127.0.0.1:{port}', '--http-listen',
                                 f'127.0.0.1:{http_port}', *flags], stdout=log, stderr=log, env=environment(),
                                **options)

"""JSON Web Tokens, good and bad, for the tests of who may do what."""
import base64
import hashlib
import hmac
import json
import os
import time

SECRET = bytes(range(32))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def token(claims, header=None, key=SECRET):
    text = b64(json.dumps(header or {'alg': 'HS256', 'typ': 'JWT'}).encode()) + '.' + b64(json.dumps(claims).encode())
    return text + '.' + b64(hmac.new(key, text.encode(), hashlib.sha256).digest())


def shared(**claims):
    return token({'iat': int(time.time()), **claims})


def bearer(text):
    return (('authorization', 'Bearer ' + text),)


def secret_file(path):
    """The daemon's copy of SECRET."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'w', encoding='ascii') as file:
        file.write('0x' + SECRET.hex() + '\n')
    return path

"""Installs a build into a folder, and builds and runs another project against the installed proof verifier."""
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ['MPTD_BUILD']
SOURCE = os.environ['MPTD_SOURCE']
TESTDATA = os.environ['MPTD_TESTDATA']


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f'{" ".join(command)}\n{done.stdout}{done.stderr}')
    return done.stdout


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix='mptd-install-')
        cls.addClassCleanup(shutil.rmtree, cls.scratch)
        cls.prefix = os.path.join(cls.scratch, 'prefix')
        run('cmake', '--install', BUILD, '--prefix', cls.prefix)

    def test_what_is_there(self):
        for path in ('share/mptd/genesis/mainnet.json.gz', 'share/mptd/genesis/hoodi.json.gz',
                     'share/mptd/proto/mptd/v1/state.proto', 'share/mptd/proto/mptd/v1/admin.proto',
                     'include/mptd/core/proof_verifier.h'):
            self.assertTrue(os.path.isfile(os.path.join(self.prefix, path)), path)
        for program in ('mptd', 'mptctl'):
            self.assertIn(program, run(os.path.join(self.prefix, 'bin', program), '--version'))

    def test_another_project(self):
        folder = os.path.join(self.scratch, 'consumer')
        run('cmake', '-S', os.path.join(SOURCE, 'tests/integration/consumer'), '-B', folder, '-G', 'Ninja',
            '-DCMAKE_PREFIX_PATH=' + self.prefix)
        run('cmake', '--build', folder)
        for vectors, expected in (('proofs', 0), ('bad_proofs', 1)):
            with gzip.open(os.path.join(TESTDATA, vectors + '.json.gz')) as file:
                cases = json.load(file)
            for case in cases[:5]:
                done = subprocess.run([os.path.join(folder, 'consumer'), case['state_root']], text=True,
                                      input=json.dumps(case['result']), capture_output=True)
                self.assertEqual(done.returncode, expected, case['name'] + ': ' + done.stdout)


if __name__ == '__main__':
    unittest.main()

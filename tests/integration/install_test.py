"""Installs a build into a folder, looks at what is there and at the Debian package's settings, and builds and runs another project against the installed proof verifier."""
import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from client import with_sanitizer

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
                     'include/mptd/core/proof_verifier.h', 'share/doc/mptd/monitoring/alerts.yml',
                     'share/doc/mptd/docs/runbooks/MptdDown.md'):
            self.assertTrue(os.path.isfile(os.path.join(self.prefix, path)), path)
        for program in ('mptd', 'mptctl'):
            self.assertIn(program, run(os.path.join(self.prefix, 'bin', program), '--version'))

    def text(self, path):
        with open(os.path.join(self.prefix, path), encoding='utf-8') as file:
            return file.read()

    @unittest.skipIf(with_sanitizer(), 'not made in this build')
    def test_manual_pages(self):
        pages = {name: self.text(f'share/man/man{name[-1]}/{name}') for name in ('mptd.1', 'mptctl.1', 'mptd.yaml.5')}
        for name, page in pages.items():
            self.assertRegex(page, rf'(?im)^\.TH "?{name[:-2]}"? "?{name[-1]}"? ', name)
        program = os.path.join(self.prefix, 'bin', 'mptd')
        for key in re.findall(r'^### `(.*\..*)`$', run(program, '--print-config-docs'), re.MULTILINE):
            self.assertIn(f'.SS\n\\fB{key}\\fR\n', pages['mptd.yaml.5'])
            self.assertIn(key, pages['mptd.1'])
        for option in ('--quick', '--thorough', '--output'):
            self.assertIn(option.replace('-', '\\-'), pages['mptd.1'])
        for command in [*self.commands(), 'checkpoint restore', 'checkpoint verify', 'audit verify']:
            self.assertIn('.SS mptctl ' + command.replace('-', '\\-') + '\n', pages['mptctl.1'])
        if shutil.which('man'):
            for name in pages:
                done = subprocess.run(['man', '--warnings', '--local-file',
                                       os.path.join(self.prefix, f'share/man/man{name[-1]}', name)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
                self.assertEqual(done.stderr, '', name)

    @unittest.skipIf(with_sanitizer(), 'not made in this build')
    def test_what_is_installed_documents_the_program(self):
        done = subprocess.run([os.path.join(self.prefix, 'bin', 'mptd'), 'check', '--quick', '-o', 'json', '--data-dir',
                               os.path.join(self.scratch, 'data')],
                              env={'PATH': os.environ['PATH']}, capture_output=True, text=True, check=False)
        found = {check['name']: check for check in json.loads(done.stdout)['checks']}['documentation']
        self.assertEqual(found['result'], 'ok', found)

    def commands(self):
        listed = run(os.path.join(self.prefix, 'bin', 'mptctl'), '--help').partition('Subcommands:\n')[2].partition('\n\n')[0]
        commands = re.findall(r'^  ([a-z-]+)', listed, re.MULTILINE)
        self.assertIn('apply', commands)
        return commands

    @unittest.skipIf(with_sanitizer(), 'not made in this build')
    def test_completion(self):
        bash = os.path.join(self.prefix, 'share/bash-completion/completions/mptctl')
        said = run('bash', '-c', 'source "$0"; COMP_WORDS=(mptctl ""); COMP_CWORD=1; _mptctl; echo "${COMPREPLY[@]}"', bash)
        self.assertEqual(set(self.commands()) - set(said.split()), set())
        self.assertTrue(self.text('share/zsh/vendor-completions/_mptctl').startswith('#compdef mptctl\n'))
        self.assertIn('complete -c mptctl', self.text('share/fish/vendor_completions.d/mptctl.fish'))

    def test_what_only_the_package_has(self):
        for path in ('etc', 'lib/systemd'):
            self.assertFalse(os.path.exists(os.path.join(self.prefix, path)), path)
        root = os.path.join(self.scratch, 'root')
        run('cmake', '--install', BUILD, '--component', 'package', env={**os.environ, 'DESTDIR': root})
        settings = os.path.join(root, 'etc/mptd/mptd.yaml')
        shown = json.loads(run(os.path.join(self.prefix, 'bin', 'mptd'), '--config', settings, '--print-config=json',
                               env={'PATH': os.environ['PATH']}))
        self.assertEqual({key: entry['value'] for key, entry in shown.items() if entry['source'] != 'default'},
                         {'server.data_dir': '/var/lib/mptd/data'})
        self.assertTrue(os.path.isfile(os.path.join(root, 'usr/lib/systemd/system/mptd.service')))

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

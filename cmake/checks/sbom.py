#!/usr/bin/env python3
"""Checks scripts/sbom: its document by the rules of SPDX 2.3, its page, and that it refuses unknown licences.
    sbom.py SOURCE_DIR BUILD_DIR
"""
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys

ID = r'SPDXRef-[A-Za-z0-9.-]+'
TERM = r'(LicenseRef-[A-Za-z0-9.-]+|[A-Za-z0-9.+-]+( WITH [A-Za-z0-9.-]+)?)'
EXPRESSION = re.compile(rf'{TERM}( (AND|OR) {TERM})*')
URI = re.compile(r'[a-z][a-z0-9+.-]*://[^\s#]+')
# Field of a package -> what it must look like (SPDX 2.3, clause 7).
PACKAGE = {
    'SPDXID': re.compile(ID),
    'name': re.compile(r'\S.*'),
    'versionInfo': re.compile(r'\S+'),
    'downloadLocation': re.compile(rf'NOASSERTION|NONE|{URI.pattern}'),
    'licenseConcluded': EXPRESSION,
    'licenseDeclared': EXPRESSION,
    'copyrightText': re.compile(r'.+'),
}
OPTIONAL = {
    'supplier': re.compile(r'(Organization|Person): .+|NOASSERTION'),
    'homepage': re.compile(rf'NOASSERTION|NONE|{URI.pattern}'),
}
DOCUMENT = {
    'spdxVersion': re.compile(r'SPDX-2\.3'),
    'dataLicense': re.compile(r'CC0-1\.0'),
    'SPDXID': re.compile('SPDXRef-DOCUMENT'),
    'name': re.compile(r'\S.*'),
    'documentNamespace': URI,
}


def fields(where, thing, required, optional=()):
    for field, form in {**required, **dict(optional)}.items():
        value = thing.get(field)
        if value is None and field not in required:
            continue
        if not isinstance(value, str) or not form.fullmatch(value):
            yield f'{where}: {field} is {value!r}'


def faults(document):
    """What in the document breaks a rule."""
    yield from fields('document', document, DOCUMENT)
    creation = document.get('creationInfo', {})
    if not re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', creation.get('created', '')):
        yield f'created is {creation.get("created")!r}'
    creators = creation.get('creators') or ['']
    if not all(re.fullmatch(r'(Tool|Person|Organization): .+', creator) for creator in creators):
        yield f'creators are {creators}'
    known = [document.get('SPDXID')]
    extracted = {info.get('licenseId') for info in document.get('hasExtractedLicensingInfos', [])}
    for package in document.get('packages', []):
        yield from fields(package.get('name'), package, PACKAGE, OPTIONAL.items())
        known.append(package.get('SPDXID'))
        named = set(re.findall(r'LicenseRef-[A-Za-z0-9.-]+', str(package.get('licenseConcluded'))))
        for reference in named - extracted:
            yield f'{package.get("name")}: {reference} is not described'
        for outside in package.get('externalRefs', []):
            if not re.fullmatch(r'pkg:deb/debian/[a-z0-9.%B+-]+@[^@\s]+', outside.get('referenceLocator', '')):
                yield f'{package.get("name")}: {outside}'
    if len(known) != len(set(known)):
        yield 'an SPDXID is given twice'
    described = 0
    for relation in document.get('relationships', []):
        for end in ('spdxElementId', 'relatedSpdxElement'):
            if relation.get(end) not in known:
                yield f'a relationship with {relation.get(end)!r}, which is nowhere'
        described += relation.get('relationshipType') == 'DESCRIBES'
    if described != 1:
        yield f'{described} relationships DESCRIBES'


def missed(document):
    """Broken copies that pass: the rules must find each."""
    def broken(change):
        copy = json.loads(json.dumps(document))
        change(copy)
        return copy
    changes = {
        'no version': lambda d: d.pop('spdxVersion'),
        'a package without licence': lambda d: d['packages'][1].pop('licenseConcluded'),
        'a licence that is no expression': lambda d: d['packages'][1].update(licenseDeclared='GPL (any)'),
        'a reference to nothing': lambda d: d['relationships'][1].update(relatedSpdxElement='SPDXRef-Package-none'),
        'one id twice': lambda d: d['packages'][1].update(SPDXID=d['packages'][2]['SPDXID']),
        'nothing described': lambda d: d['relationships'].pop(0),
        'no date': lambda d: d['creationInfo'].pop('created'),
    }
    return [name for name, change in changes.items() if not list(faults(broken(change)))]


def refuses(script):
    """What scripts/sbom lets pass though it does not know the licence."""
    loader = importlib.machinery.SourceFileLoader('sbom', script)
    sbom = importlib.util.module_from_spec(importlib.util.spec_from_loader('sbom', loader))
    loader.exec_module(sbom)
    if sbom.licence('any', 'Format: x\n\nFiles: *\nCopyright: somebody\nLicense: Expat\n Text.\n') != 'MIT':
        yield 'does not read a licence'
    for text in ('Format: x\n\nFiles: *\nCopyright: somebody\nLicense: AGPL-3\n', 'Just prose.\nLicense: Expat\n'):
        try:
            yield f'takes {text!r} for {sbom.licence("any", text)}'
        except SystemExit:
            pass


def main():
    source, build = sys.argv[1:]
    script = os.path.join(source, 'scripts/sbom')
    made = subprocess.run([script, build], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        sys.exit(made.stderr or made.stdout)
    document = json.loads(made.stdout)
    wrong = [*faults(document), *(f'not found: {name}' for name in missed(document)), *refuses(script)]
    page = subprocess.run([script, build, '--page'], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(source, 'docs/DEPENDENCIES.md'), encoding='utf-8') as file:
        if file.read() != page:
            wrong.append('docs/DEPENDENCIES.md is old: scripts/sbom build/release --page >docs/DEPENDENCIES.md')
    print('\n'.join(wrong) or f'{len(document["packages"])} packages')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

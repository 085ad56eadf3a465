// `npm run licences`: writes the licences of what is linked into the module and the executable, as each platform's
// package carries them. cargo-about finds them, which takes minutes to compile; so the list is kept in the repository,
// and a test says when it does not name what is linked in.

import { writeFileSync } from 'node:fs'
import { run } from './debian.mjs'
import { cache, root, TARGETS } from './targets.mjs'
import { once } from './tools.mjs'

const CARGO_ABOUT = '0.9.3'
export const LICENCES = 'THIRD-PARTY-LICENSES.txt'
export const list = `${root}crate/${LICENCES}`

const targets = TARGETS.map(({ triple }) => `--target=${triple}`)

/** What no crate's metadata tells of. */
const ADDED = [
  {
    name: "Rust's standard library",
    licence: 'MIT',
    repository: 'https://github.com/rust-lang/rust',
    text: mit('The Rust Project Contributors'),
  },
  {
    name: "LLVM's libunwind, where the binary was linked by zig",
    licence: 'Apache-2.0 WITH LLVM-exception',
    repository: 'https://github.com/llvm/llvm-project',
    text: 'The exception allows a binary without a copy of the licence.',
  },
]

/** The crates of others that are linked in, as `name version`. What runs at build time is no part of a binary. */
export function linked() {
  const what = ['--package=tsdaemonize', '--package=tsdaemonize-program', '--no-default-features', '--locked']
  const which = ['--edges=normal,no-proc-macro', ...targets]
  const form = ['--prefix=none', '--no-dedupe', '--format={p}']
  const lines = run('cargo', ['tree', ...what, ...which, ...form], { cwd: root }).split('\n')
  // The path of a crate of our own follows its version.
  const others = lines.filter((line) => line !== '' && !line.includes(' ('))
  return [...new Set(others)].map((line) => line.replace(' v', ' ')).sort()
}

function cargoAbout() {
  const dir = once(`${cache}tools/cargo-about-${CARGO_ABOUT}`, (into) => {
    console.log('Installing cargo-about, which takes some minutes ...')
    const args = ['install', 'cargo-about', `--version=${CARGO_ABOUT}`, '--locked', '--features=cli']
    run('cargo', [...args, `--root=${into}`], { stdio: ['ignore', 'inherit', 'inherit'] })
  })
  return `${dir}/bin/cargo-about`
}

/** Writes the list. A text that several have stands in it once. */
function write() {
  const options = ['--workspace', '--no-default-features', '--locked', '--offline', '--fail']
  const about = ['generate', '--format=json', '--config=crate/about.toml', ...targets, ...options]
  const { licenses } = JSON.parse(run(cargoAbout(), about, { cwd: root }))
  const names = linked()
  const crates = licenses
    .flatMap(({ id, text, source_path: source, used_by }) =>
      used_by.map(({ crate: { name, version, repository, authors } }) => ({
        name: `${name} ${version}`,
        licence: id,
        repository,
        // Without a text in the crate's source, this is the form of the licence, with gaps.
        text: source === null ? textOf(id, authors, name) : text.trim(),
      })),
    )
    .filter(({ name }) => names.includes(name))
    .sort((a, b) => a.name.localeCompare(b.name))
  const all = [...crates, ...ADDED]
  const texts = new Map()
  for (const one of all) texts.set(one.text, [...(texts.get(one.text) ?? []), one])
  const rule = '-'.repeat(78)
  const lines = [
    'These binaries are tsdaemonize, under the GPL, version 3 or later (LICENSE.txt). Linked into them are:',
    '',
    ...all.map(({ name, licence, repository }) => `- ${name}: ${licence}, ${repository}`),
    ...[...texts].flatMap(([text, of]) => ['', rule, ...of.map(({ name }) => name), rule, '', text]),
    '',
  ]
  writeFileSync(list, lines.join('\n'))
}

function textOf(licence, authors, name) {
  if (licence === 'MIT') return mit(authors.join(', ') || `the authors of ${name}`)
  throw new Error(`The crate ${name} brings no text of its licence, ${licence}`)
}

function mit(holder) {
  return `Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO
EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE.`
}

if (import.meta.filename === process.argv[1]) write()

// A daemon's life on this very machine, with the packages as they are published: for a system that no
// other can run (macOS).

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { appOf } from './app.mjs'
import { makePackages } from './package.mjs'
import { TARGETS } from './targets.mjs'

const target = TARGETS.find(({ os, cpu }) => os === process.platform && cpu === process.arch)
const scratch = mkdtempSync(`${tmpdir()}/tsd-here-`)
makePackages({ packages: `${scratch}/packages/` })
const app = appOf(`${scratch}/packages/`, target.name, `${scratch}/app`)
const { status } = spawnSync(process.execPath, [`${app}/life.mjs`], {
  stdio: 'inherit',
  env: { ...process.env, RUN: mkdtempSync(`${scratch}/run-`) },
  timeout: 300_000,
})
rmSync(scratch, { recursive: true })
process.exitCode = status ?? 1

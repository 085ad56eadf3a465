// A daemon's start, status, signals, log and end on every runtime and in every form of a program. What is not
// installed (scripts/nodes.mjs) is skipped by name.

import ava from 'ava'
import { Place } from 'tsdaemonize/testing'
import { atMost, options, unless } from '../suite.mjs'
import { check } from './check.mjs'
import { cells, makeProject } from './project.mjs'

const place = new Place({ log: false })
const project = await makeProject(place.dir)
const limited = atMost(options.jobs)

ava.after.always('the project is removed', () => place.end())

for (const cell of cells()) {
  unless(cell.skip, ava)(cell.name, (t) => limited(() => check(t, cell, project)))
}

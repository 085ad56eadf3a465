// The commands of package.json: what they say to wrong arguments.

import { command, place, root, test } from './kit.mjs'

for (const [args, expected] of [
  [['test.mjs', 'nosuch'], /^No such suite: nosuch\. There are .*\bcontainers\b.*\.\n$/],
  [['test.mjs', '--nosuch'], /^Unknown option '--nosuch'.*\n$/],
  [['test.mjs', '__test__/nosuch.test.mjs'], /^No such file: __test__\/nosuch\.test\.mjs\n$/],
  [['test.mjs', 'nosuch.test.mjs:12'], /^No such file: nosuch\.test\.mjs\n$/],
  [['bench.mjs', '--nosuch'], /^Unknown option '--nosuch'.*\n$/],
  [['bench/peers.mjs', '--runs'], /^Option '--runs <value>' argument missing\n$/],
  [['platforms/build.mjs', 'nosuch'], /^No such platform: nosuch\. There are linux-x64-gnu, .*\.\n$/],
]) {
  test(`${args.join(' ')} is refused in a sentence, with status 2`, async (t) => {
    const [script, ...rest] = args
    const { status, stdout, stderr } = await command(place(t), process.execPath, [
      `${root}/scripts/${script}`,
      ...rest,
    ])
    t.deepEqual([status, stdout], [2, ''])
    t.regex(stderr, expected)
  })
}

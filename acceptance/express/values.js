// What the tests put into sessions, and how they look at it.
'use strict';

const { Binary, Decimal128, Double, Int32, Long, ObjectId } = require('mongodb');

// rich returns values of the types that Express puts into sessions.
function rich(native) {
  const values = {
    date: new Date('2026-01-02T03:04:05.678Z'),
    buffer: Buffer.from([0, 1, 254, 255]),
    large: 9007199254740991,
    larger: 2 ** 60,
    fraction: 0.1,
    exponent: 1e21,
    text: 'naïve 😀 \u2028 "quoted" </script>',
    nothing: null,
    list: [1, 'two', null, { three: 3 }],
    nested: { zulu: 1, alpha: { when: new Date(0), deep: [true] } },
    'a.b': 'dot',
    $c: 'dollar',
    '': 'no name',
  };
  if (native) {
    Object.assign(values, {
      objectId: new ObjectId('0123456789abcdef01234567'),
      long: Long.fromString('9007199254740993'),
      short: Long.fromNumber(5),
      double: new Double(5),
      int: new Int32(5),
      decimal: Decimal128.fromString('1.10'),
      uuid: new Binary(Buffer.alloc(16, 7), 4),
      missing: undefined,
    });
  }
  return values;
}

// plainOf returns a session without its cookie; what is no plain object goes by its type and text.
function plainOf(session) {
  const values = {};
  for (const [key, value] of Object.entries(session ?? {})) {
    if (key !== 'cookie' && key !== 'lastModified') {
      values[key] = value;
    }
  }
  return values;
}

module.exports = { plainOf, rich };

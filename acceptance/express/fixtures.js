// Writes sessions with the real stores and prints the documents: the fixtures
// of connectmongo, one line of JSON for each case. It reads one line of JSON
// from stdin, with the URI of a MongoDB and the name of a database.
'use strict';

const readline = require('node:readline');
const express = require('express');
const http = require('node:http');
const session = require('express-session');
const { BSON, MongoClient } = require('mongodb');
const { storeOf, storeOf5, storeOfSession } = require('./stores');
const { rich } = require('./values');

// signature is the module with which express-session signs.
const signature = require(require.resolve('cookie-signature', { paths: [require.resolve('express-session')] }));

const secret = 'correct horse battery staple';
const web = (options) => ({ crypto: { kind: 'web', secret, iterations: 1000, ...options } });
const kruptein = (options) => ({ crypto: { kind: 'kruptein', secret, ...options } });
const document = { store: { stringify: false } };

// cases are the ways in which the stores write; native: dates and the like stay what they are.
const cases = [
  { name: 'string' },
  { name: 'document', native: true, ...document },
  { name: 'browser-session', cookie: { maxAge: null } },
  { name: 'browser-session-document', native: true, cookie: { maxAge: null }, ...document },
  {
    name: 'every-attribute',
    cookie: {
      maxAge: 86400500, secure: true, sameSite: 'none', domain: 'example.com', path: '/app', httpOnly: false,
      partitioned: true, priority: 'high',
    },
  },
  { name: 'timestamps', store: { timestamps: true } },
  { name: 'touch-after', store: { touchAfter: 3600 } },
  { name: 'transform-id', idKey: 'pepper' },
  { name: 'web-default', crypto: { kind: 'web', secret } },
  { name: 'web-base64', ...web({}) },
  { name: 'web-base64url', ...web({ encoding: 'base64url' }) },
  { name: 'web-hex-salt', ...web({ encoding: 'hex', salt: 'sea', ivLength: 16 }) },
  { name: 'web-cbc', ...web({ algorithm: 'AES-CBC' }) },
  { name: 'web-document', ...document, ...web({}) },
  { name: 'kruptein', ...kruptein({}) },
  { name: 'kruptein-document', ...document, ...kruptein({}) },
  { name: 'kruptein-hex', ...kruptein({ encodeas: 'hex', algorithm: 'aes-192-gcm', hashing: 'sha384' }) },
  { name: 'kruptein-base64url', ...kruptein({ encodeas: 'base64url', algorithm: 'aes-128-gcm', hashing: 'sha256' }) },
  { name: 'crypto-option', store: { crypto: { secret } } },
  { name: '5.1.0-string', writer: storeOf5 },
  { name: '5.1.0-document', native: true, writer: storeOf5, ...document },
  { name: '5.1.0-crypto', writer: storeOf5, store: { crypto: { secret } } },
  { name: '5.1.0-crypto-document', writer: storeOf5, store: { stringify: false, crypto: { secret } } },
  { name: 'connect-mongodb-session', native: true, writer: storeOfSession },
];

// visit sends one request to an application that fills its session, and returns the cookie.
async function visit(store, settings) {
  const app = express();
  app.use(
    session({
      secret: 'keyboard cat',
      resave: false,
      saveUninitialized: false,
      proxy: true,
      store,
      cookie: { maxAge: 86400000, ...settings.cookie },
    }),
  );
  app.get('/app', (req, res) => {
    Object.assign(req.session, { user: 'ada' }, rich(settings.native));
    req.session.save((err) => (err ? res.status(500).end(String(err)) : res.end('ok')));
  });
  const server = http.createServer(app);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}/app`;
  const answer = await fetch(url, { headers: { 'X-Forwarded-Proto': 'https' } });
  const text = await answer.text();
  server.close();
  if (text !== 'ok') {
    throw new Error(`${settings.name}: ${text}`);
  }
  return answer.headers.getSetCookie()[0];
}

async function main(input) {
  const client = await MongoClient.connect(input.uri);
  for (const settings of cases) {
    const collection = `fixture-${settings.name}`;
    const place = { ...settings, database: input.database, collection };
    const make = settings.writer ?? storeOf;
    const store = make(place, make === storeOfSession ? input.uri : client);
    const setCookie = await visit(store, settings);
    await store.initialConnectionPromise; // connect-mongodb-session has a client of its own
    await store.client?.close();
    const found = await client.db(input.database).collection(collection).findOne({}, { raw: true });
    const { writer, ...rest } = settings;
    const document = BSON.EJSON.serialize(BSON.deserialize(found, { promoteValues: false }), { relaxed: false });
    console.log(JSON.stringify({ ...rest, setCookie, document }));
  }
  await client.close();
}

// signatures are of ids that express-session would not make itself, for the tests of the cookie.
function signatures() {
  return ['plain', 'with.dots.', 'sp ace', "!'()*~-_", 'naïve😀', 'a+b/c=d%e'].map((id) => {
    const signed = 's:' + signature.sign(id, 'keyboard cat');
    return { id, signed, encoded: encodeURIComponent(signed) };
  });
}

const lines = readline.createInterface({ input: process.stdin });
lines.once('line', async (line) => {
  console.log(JSON.stringify({ signatures: signatures() }));
  await main(JSON.parse(line));
  console.log('{"done":true}');
});
lines.once('close', () => process.exit(0));

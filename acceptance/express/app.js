// The Express side of the acceptance tests. It reads one line of JSON from
// stdin: the URI of a MongoDB, a certificate, and a list of applications. It
// starts each at a port of its own, prints their ports as a line of JSON, and
// ends with its stdin.
'use strict';

const https = require('node:https');
const readline = require('node:readline');
const express = require('express');
const session = require('express-session');
const { MongoClient } = require('mongodb');
const { storeOf } = require('./stores');
const { plainOf, rich } = require('./values');

// promised turns a method with a callback into a promise.
const promised = (call) =>
  new Promise((resolve, reject) => call((err, value) => (err ? reject(err) : resolve(value))));

// appOf is an application like the one on the other side, in site_test.go.
function appOf(settings, client) {
  const app = express();
  const store = storeOf(settings, client);
  app.use(express.json());

  // A request that is held is under way until it is released.
  const held = new Map();
  app.get('/held', (req, res) => res.json({ held: held.has(req.query.name) }));
  app.post('/release', (req, res) => {
    held.get(req.query.name)();
    res.json({});
  });

  app.use(session({ resave: false, saveUninitialized: false, ...settings.session, store }));

  app.post('/sign-in', async (req, res) => {
    await promised((done) => req.session.regenerate(done));
    req.session.user = req.query.user;
    if (req.query.maxAge) {
      req.session.cookie.maxAge = Number(req.query.maxAge) * 1000;
    }
    res.json(plainOf(req.session));
  });
  app.post('/live', (req, res) => {
    req.session.cookie.maxAge = Number(req.query.maxAge) * 1000;
    req.session.lived = true; // a change of the cookie alone is none to express-session
    res.json(plainOf(req.session));
  });
  app.post('/set', (req, res) => {
    Object.assign(req.session, req.body);
    res.json(plainOf(req.session));
  });
  app.post('/rich', (req, res) => {
    Object.assign(req.session, rich(settings.store?.stringify === false));
    res.json(plainOf(req.session));
  });
  app.post('/hold', async (req, res) => {
    Object.assign(req.session, req.body);
    await new Promise((release) => held.set(req.query.name, release));
    res.json(plainOf(req.session));
  });
  app.get('/session', (req, res) => res.json(plainOf(req.session)));
  app.post('/regenerate', async (req, res) => {
    const { cookie, ...values } = req.session;
    await promised((done) => req.session.regenerate(done));
    Object.assign(req.session, values);
    req.session.cookie.maxAge = cookie.originalMaxAge;
    res.json(plainOf(req.session));
  });
  app.post('/sign-out', async (req, res) => {
    await promised((done) => req.session.destroy(done));
    res.clearCookie(settings.session.name ?? 'connect.sid', settings.session.cookie);
    res.json({});
  });
  app.use((err, req, res, next) => res.status(500).json({ error: String(err?.message ?? err) }));
  return app;
}

async function main(input) {
  const client = await MongoClient.connect(input.uri);
  const ports = {};
  for (const settings of input.apps) {
    const server = https.createServer({ cert: input.cert, key: input.key }, appOf(settings, client));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports[settings.name] = server.address().port;
  }
  console.log(JSON.stringify({ ports }));
}

const lines = readline.createInterface({ input: process.stdin });
lines.once('line', (line) => main(JSON.parse(line)));
lines.once('close', () => process.exit(0));

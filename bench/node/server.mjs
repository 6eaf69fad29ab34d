// The contestants that run on Node, one per process:
//
//	node server.mjs express-connect-mongo MONGODB_URI DATABASE
//
// It prints the port of 127.0.0.1 on which it listens, and ends with its
// standard input. The values of new sessions are in the environment, as JSON.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import connectMongo from 'connect-mongo'
import express from 'express'
import session from 'express-session'

const require = createRequire(import.meta.url)
const [kind, uri, database] = process.argv.slice(2)
const values = JSON.parse(process.env.BENCH_VALUES)
const lifetime = 14 * 24 * 60 * 60 * 1000
const majority = process.env.BENCH_MAJORITY ? { writeConcern: { w: 'majority' } } : {}
const create = connectMongo.create ?? connectMongo.MongoStore.create

const kinds = {
  'express-connect-mongo': () => application(create.call(connectMongo, connectMongoOptions('express')), false),
  // This store has no touch: resave, as its own documentation sets it, is what keeps a session alive.
  'express-connect-mongodb-session': () => application(connectMongodbSession(), true),
  'connect-mongo': () => storeAlone(create.call(connectMongo, connectMongoOptions('alone'))),
}

function connectMongoOptions(collectionName) {
  return { mongoUrl: uri, dbName: database, collectionName, mongoOptions: majority }
}

function connectMongodbSession() {
  const Store = require('connect-mongodb-session')(session)
  return new Store({ uri, databaseName: database, collection: 'cmdb', expires: lifetime, connectionOptions: majority })
}

// application is Express with a page for each operation.
function application(store, resave) {
  const app = express()
  app.disable('x-powered-by')
  app.use(session({
    name: 'sid', secret: 'secret', resave, saveUninitialized: false, store,
    // Over plain HTTP express-session sets no Secure cookie.
    cookie: { maxAge: lifetime, httpOnly: true, sameSite: 'lax', secure: false },
  }))
  app.get('/new', (req, res) => {
    Object.assign(req.session, values, { count: Number(req.get('X-Count')) })
    res.end()
  })
  app.use((req, res, next) => (req.session.count === undefined ? res.status(404).end('no session') : next()))
  app.get(['/load', '/unchanged'], (req, res) => res.end(String(req.session.count)))
  app.get('/read', (req, res) => res.json(valuesOf(req.session)))
  app.get('/change', (req, res) => {
    const found = req.session.count
    req.session.count = Number(req.get('X-Count'))
    res.end(String(found))
  })
  app.get('/regenerate', (req, res, next) => {
    const kept = valuesOf(req.session)
    req.session.regenerate((err) => {
      if (err) return next(err)
      Object.assign(req.session, kept)
      res.end(String(kept.count))
    })
  })
  return createServer(app)
}

function valuesOf(session) {
  const { cookie, ...kept } = session
  return kept
}

// storeAlone runs whole slices on the store, without requests: what it is
// asked for is a list of visits, and it answers what each took.
function storeAlone(store) {
  const call = (name, ...args) => new Promise((resolve, reject) => {
    store[name](...args, (err, result) => (err ? reject(err) : resolve(result)))
  })
  const cookie = () => ({ originalMaxAge: lifetime, expires: new Date(Date.now() + lifetime), httpOnly: true, path: '/' })
  const newID = () => randomBytes(24).toString('base64url')

  async function visit(op, { count, cookie: sid }) {
    if (op === 'new') {
      const id = newID()
      await call('set', id, { cookie: cookie(), ...values, count })
      return { cookie: id, body: '' }
    }
    const found = await call('get', sid)
    if (!found) return { status: 404 }
    const body = String(found.count)
    switch (op) {
      case 'read':
        return { body: JSON.stringify(valuesOf(found)) }
      case 'unchanged':
        await call('touch', sid, { ...found, cookie: cookie() })
        return { body }
      case 'change':
        await call('set', sid, { ...found, cookie: cookie(), count })
        return { body }
      case 'regenerate': {
        const id = newID()
        await call('destroy', sid)
        await call('set', id, { ...found, cookie: cookie() })
        return { body, cookie: id }
      }
      default:
        return { body }
    }
  }

  async function slice({ op, concurrency, limit, visits }) {
    const start = performance.now()
    const answers = []
    const worker = async () => {
      while (answers.length < visits.length && performance.now() - start < limit) {
        const i = answers.push(null) - 1
        const begin = process.hrtime.bigint()
        const answer = await visit(op, visits[i])
        answers[i] = { status: 200, ...answer, took: Number(process.hrtime.bigint() - begin) }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    return answers
  }

  return createServer(async (req, res) => {
    try {
      let body = ''
      for await (const chunk of req) body += chunk
      res.end(JSON.stringify(await slice(JSON.parse(body))))
    } catch (err) {
      res.writeHead(500).end(String(err))
    }
  })
}

const server = kinds[kind]()
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume()
